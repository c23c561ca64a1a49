// Structures to begin with: [name, elements, format, text]. Lengths in Angstrom.

const cif = (name, group, number, [a, b, c, gamma], sites) => `data_${name}
_symmetry_space_group_name_H-M   '${group}'
_symmetry_Int_Tables_number   ${number}
_cell_length_a   ${a}
_cell_length_b   ${b}
_cell_length_c   ${c}
_cell_angle_alpha   90
_cell_angle_beta   90
_cell_angle_gamma   ${gamma}
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
${sites.map(([s, ...x], k) => `  ${s}  ${s}${k}  ${x.join("  ")}`).join("\n")}
`;

export const EXAMPLES = [
  ["Copper", ["Cu"], "cif", cif("Cu", "F m -3 m", 225, [3.615, 3.615, 3.615, 90], [["Cu", 0, 0, 0]])],
  ["Silicon", ["Si"], "cif",
    cif("Si", "P 1", 1, [5.431, 5.431, 5.431, 90], [
      ["Si", 0, 0, 0], ["Si", 0, 0.5, 0.5], ["Si", 0.5, 0, 0.5], ["Si", 0.5, 0.5, 0],
      ["Si", 0.25, 0.25, 0.25], ["Si", 0.25, 0.75, 0.75], ["Si", 0.75, 0.25, 0.75],
      ["Si", 0.75, 0.75, 0.25],
    ])],
  ["CuAu, tetragonal", ["Cu", "Au"], "cif",
    cif("CuAu", "P 4/m m m", 123, [2.795, 2.795, 3.58, 90], [["Cu", 0, 0, 0], ["Au", 0.5, 0.5, 0.5]])],
  ["Nickel, hexagonal", ["Ni"], "cif",
    cif("Ni", "P 1", 1, [2.49, 2.49, 4.07, 120], [
      ["Ni", "0.333333333", "0.666666667", 0.25], ["Ni", "0.666666667", "0.333333333", 0.75],
    ])],
  ["Copper, bcc (unstable)", ["Cu"], "cif",
    cif("Cu", "I m -3 m", 229, [2.87, 2.87, 2.87, 90], [["Cu", 0, 0, 0]])],
];
