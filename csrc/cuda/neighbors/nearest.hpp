// The k nearest neighbours of every atom, found and kept as numbers; edges are written later (write_rows.hpp).
#pragma once

#include "../stream.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// Sets SearchData::slots and capacity from the options.
void plan_nearest(SearchData& search);

// Fills counts, lengths, few, kept, radii (and last, share, limits, again). No host synchronisation.
void find_nearest(const SearchData& search, bool with_boxes, Stream stream);

}  // namespace cuda
}  // namespace cgfast
