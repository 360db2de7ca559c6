// Tables of benchmarks: parsing, types of columns, writing.
#include "ssl4rl/io/tsv.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    io::Table table = io::parse_tsv({reinterpret_cast<const char*>(data), size}, "fuzz.tsv");
    for (const io::Column& column : table.columns)
      if (column.cells.size() != table.rows()) std::abort();
    for (io::Column& column : table.columns) {
      io::infer_type(column);
      (void)io::quoted_line(column.cells, '\t');
    }
  });
}
