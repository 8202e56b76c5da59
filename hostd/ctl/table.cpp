#include "hostd/ctl/table.h"

#include <algorithm>

namespace sluice::ctl {

std::string Table::to_string(const std::string& none) const {
  if (rows_.size() == 1) return none + "\n";
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string padding(widths[i] - row[i].size(), ' ');
      bool is_number = std::find(numbers_.begin(), numbers_.end(), i) != numbers_.end();
      line += (is_number ? padding + row[i] : row[i] + padding) + "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace sluice::ctl
