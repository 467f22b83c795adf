// k nearest without a place to keep them: for k beyond shared memory, and any number of ties.
#pragma once

#include "../stream.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// Finds the rows that nearest_rows left (all, if they are not SearchData::on_chip) by counting candidates in ever
// narrower intervals, so that nothing needs room: counts, lengths, few, radii, and last and share, or the row's last key.
void find_long_nearest(const SearchData& search, bool with_boxes, Stream stream);

}  // namespace cuda
}  // namespace cgfast
