#include "lattice.hpp"

#include "../check.hpp"
#include "make_lattice.hpp"

namespace cgfast {

Lattice make_lattice(const double* cell, const uint8_t* pbc, int64_t crystal) {
    Lattice lattice{};
    const CellFault fault = try_make_lattice(cell, pbc, lattice);
    CGFAST_CHECK(fault.kind != CellFault::not_finite,
                 "cell of crystal " << crystal << " must be finite, got " << fault.value << " in row " << fault.row);
    CGFAST_CHECK(
        fault.kind == CellFault::none,
        "cell of crystal " << crystal << " must span a volume along its periodic axes, got lattice vectors whose "
                           << "volume is " << fault.value << " (their lengths multiply to " << fault.lengths << ")");
    return lattice;
}

}  // namespace cgfast
