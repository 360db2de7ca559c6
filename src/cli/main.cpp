#include "ssl4rl/cli/app.h"

int main(int argc, char** argv) { return ssl4rl::cli::run(argc, argv); }
