// Rows become edges.
#pragma once

#include "../stream.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// Counts the rows of radius lists: counts. No host synchronisation.
void count_radius_rows(const SearchData& search, bool with_boxes, Stream stream);

// Writes every edge to its place, from kept numbers or by searching again. n_searched_again: as in the status. No host
// synchronisation.
void write_rows(const SearchData& search, const NeighborArrays& out, int64_t n_searched_again, bool with_boxes,
                Stream stream);

}  // namespace cuda
}  // namespace cgfast
