// Running the program as a user does.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "ssl4rl/io/file.h"
#include "support/temporary_folder.h"

namespace ssl4rl {

struct Outcome {
  int status = 0;
  std::string out, err;
};

/// A text as one word of the shell.
inline std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'') {
      word.append("'\\''");
    } else {
      word.push_back(c);
    }
  }
  word.push_back('\'');
  return word;
}

/// ssl4rl with these arguments, in a shell: `prefix` stands before the command ("ulimit …;"), `suffix` behind it.
inline Outcome run_program(const std::vector<std::string>& arguments, const std::string& prefix = "",
                           const std::string& suffix = "") {
  const TemporaryFolder folder;
  std::string command = prefix + " " + quoted(SSL4RL_PROGRAM);
  for (const std::string& argument : arguments) command += " " + quoted(argument);
  command +=
      " > " + quoted((folder.path() / "out").string()) + " 2> " + quoted((folder.path() / "err").string()) + suffix;
  const int raw = std::system(command.c_str());
  return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), io::read_file(folder.path() / "out"),
          io::read_file(folder.path() / "err")};
}

}  // namespace ssl4rl
