"""CIF text for the tests, written by hand."""

from __future__ import annotations

CELL = "_cell_length_a {a}\n_cell_length_b {b}\n_cell_length_c {c}\n"
ANGLES = "_cell_angle_alpha {al}\n_cell_angle_beta {be}\n_cell_angle_gamma {ga}\n"


def cif(
    sites: str,
    *,
    cell: tuple[float | str, ...] = (5, 5, 5, 90, 90, 90),
    symmetry: str = "",
    columns: str = "label type_symbol fract_x fract_y fract_z",
    name: str = "test",
) -> str:
    """One data block; ``sites`` are the lines of the atom loop."""
    head = CELL.format(a=cell[0], b=cell[1], c=cell[2]) + ANGLES.format(al=cell[3], be=cell[4], ga=cell[5])
    loop = "loop_\n" + "".join(f"_atom_site_{column}\n" for column in columns.split())
    return f"data_{name}\n{head}{symmetry}\n{loop}{sites}\n"


def operations(*texts: str, tag: str = "_symmetry_equiv_pos_as_xyz") -> str:
    """A loop of symmetry operations."""
    return f"loop_\n{tag}\n" + "".join(f"'{text}'\n" for text in texts)


HM = "_symmetry_space_group_name_H-M '{}'\n"
OCCUPANCY = "label type_symbol fract_x fract_y fract_z occupancy"
FM3M_SITES = "Na1 Na1+ 0 0 0\nCl1 Cl1- 0.5 0.5 0.5"

# Each must give what pymatgen's parser gives: same atoms in the same order at the same places.
LIKE_PYMATGEN: dict[str, str] = {
    "p1 without symmetry": cif("Na1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5"),
    "name only": cif(FM3M_SITES, symmetry=HM.format("F m -3 m")),
    "name without blanks": cif(FM3M_SITES, symmetry=HM.format("Fm-3m")),
    "number only": cif(FM3M_SITES, symmetry="_symmetry_Int_Tables_number 225\n"),
    "operations, no name": cif(FM3M_SITES, symmetry=operations("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "1/2+x,1/2+y,z")),
    "operations win over a wrong name": cif(FM3M_SITES, symmetry=HM.format("F m -3 m") + operations("x,y,z")),
    "nonstandard name with operations": cif(
        "C1 C 0.1 0.2 0.3", symmetry=HM.format("P 99/q") + operations("x, y, z", "-x, -y, -z")
    ),
    "one operation as a pair": cif("C1 C 0.1 0.2 0.3", symmetry="_symmetry_equiv_pos_as_xyz 'x,y,z'\n"),
    "new operation tag": cif(
        "C1 C 0.1 0.2 0.3", symmetry=operations("x,y,z", "-x,-y,z+.5", tag="_space_group_symop_operation_xyz")
    ),
    "upper-case operations with plus signs": cif("C1 C 0.1 0.2 0.3", symmetry=operations("+X,+Y,+Z", "-X+1/2,-Y,+Z+1/2")),
    "hexagonal with rounded thirds": cif(
        "Mg1 Mg 0.3333 0.6667 0.25",
        cell=(3.21, 3.21, 5.21, 90, 90, 120),
        symmetry=operations(
            "x,y,z",
            "-y,x-y,z",
            "-x+y,-x,z",
            "-x,-y,z+1/2",
            "y,-x+y,z+1/2",
            "x-y,x,z+1/2",
            "-x,-y,-z",
            "y,-x+y,-z",
            "x-y,x,-z",
            "x,y,-z+1/2",
            "-y,x-y,-z+1/2",
            "-x+y,-x,-z+1/2",
        ),
    ),
    "rhombohedral name, hexagonal axes": cif(
        "Bi1 Bi 0 0 0.234", cell=(4.55, 4.55, 11.86, 90, 90, 120), symmetry=HM.format("R -3 m")
    ),
    "uncertainties": cif("Si1 Si 0.123(4) 0.2(1) 0.30000(12)", cell=("5.43(1)", "5.4(2)", "5.5", 90, "99.5(3)", 90)),
    "triclinic": cif("Si1 Si 0.1 0.2 0.3\nO1 O .7 -.2 1.9", cell=(4.1, 5.2, 6.3, 77, 88, 101)),
    "labels without symbols": cif("Fe1 0 0 0\nO2 .5 .5 .5\nO3 0 .5 .5", columns="label fract_x fract_y fract_z"),
    "upper-case labels": cif("FE1 0 0 0\nO2 .5 .5 .5", columns="label fract_x fract_y fract_z"),
    "oxidation states": cif("Fe1 Fe3+ 0 0 0\nO1 O2- .5 .5 .5\nO2 O-2 .5 0 0"),
    "full occupancies": cif("Fe1 Fe 0 0 0 1.0\nO1 O .5 .5 .5 1.000(2)\nO2 O .5 0 0 ?", columns=OCCUPANCY),
    "zero occupancy is no atom": cif("Fe1 Fe 0 0 0 1.0\nO1 O .5 .5 .5 0.0", columns=OCCUPANCY),
    "duplicate labels": cif("O1 O 0 0 0\nO1 O .5 .5 .5\nO1 O .5 0 0"),
    "a dot for a coordinate is refused or zero": cif("O1 O 0.0 0 0\nH1 H .5 .5 .5"),
    "comments, blank lines, windows line ends": "# x\r\n\r\n"
    + cif("Na1 Na 0 0 0\n# c\nCl1 Cl 0.5 0.5 0.5").replace("\n", "\r\n"),
    "electronegativity order": cif(
        "O1 O 0 0 0\nTi1 Ti .5 .5 .5\nSr1 Sr 0 .5 .5\nC1 C .25 .25 .25\nSe1 Se .1 .1 .1\nAu1 Au .7 .7 .7"
    ),
    "origin choice 1 by name": cif("C1 C 0 0 0", cell=(3.57, 3.57, 3.57, 90, 90, 90), symmetry=HM.format("F d -3 m")),
    "general position of a cubic group": cif(
        "Si1 Si 0.11 0.23 0.37", cell=(15, 15, 15, 90, 90, 90), symmetry=HM.format("F m -3 m")
    ),
}
