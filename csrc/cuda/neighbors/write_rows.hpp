// Rows become edges.
#pragma once

#include "../stream.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// Counts the rows of radius lists: counts. No host synchronisation.
void count_radius_rows(const SearchData& search, bool with_boxes, Stream stream);

// Writes every edge to its place, from kept numbers or by searching again. No host synchronisation.
void write_rows(const SearchData& search, const NeighborArrays& out, bool with_boxes, Stream stream);

}  // namespace cuda
}  // namespace cgfast
