// What comes before the search of single atoms: lattices, atoms wrapped into them, radii, cell lists of large crystals.
#pragma once

#include "../stream.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// A crystal of fewer atoms gets a cell list only if all do.
constexpr int64_t fewest_boxed_atoms = 64;

// Fills all that SearchData says of crystals and atoms, and the status if one of them cannot be searched.
// `with_boxes`: some crystal may get a cell list. No host synchronisation.
void prepare_crystals(const SearchData& search, bool with_boxes, Stream stream);

}  // namespace cuda
}  // namespace cgfast
