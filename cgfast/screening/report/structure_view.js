// Draws the structure of the candidate that is chosen in the list. Needs plotly.js and the JSON in #candidates.
"use strict";
(() => {
  const MOST_DRAWN = 4000; // atoms, with all images: beyond it fewer cells are drawn
  const MOST_BONDED = 1500; // atoms: pairs are counted by their square
  const NEAR_FACE = 0.15; // Å; atoms as near to a face are on it
  const BOND_SLACK = 0.25; // Å beyond the sum of covalent radii
  const SHARE = 0.42; // of the radius of an atom that its picture has, so that bonds and cell are seen
  const EYE = { x: 1.8, y: 0.95, z: 0.65 };
  const ZOOM = 1.8; // without perspective plotly zooms by the sides of the cube of the axes
  const MARKER = 0.58; // a marker of this size is drawn with a diameter of one pixel (measured)
  const VISIBLE = 1.95 / ZOOM; // cubes that fit into the height of the picture (measured)

  const byId = (name) => document.getElementById(name);
  const { elements, candidates } = JSON.parse(byId("candidates").textContent);
  const rows = [...document.querySelectorAll("#candidate-table tbody tr")];
  const plot = byId("structure");
  let chosen = -1;

  const place = (cell, f) => [0, 1, 2].map((k) => f[0] * cell[0][k] + f[1] * cell[1][k] + f[2] * cell[2][k]);
  const length = (v) => Math.hypot(v[0], v[1], v[2]);
  const range = (n) => [...Array(n).keys()];

  // How far the faces of the cell are from each other, along each vector.
  function heights(cell) {
    const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    return [0, 1, 2].map((k) => {
      const normal = cross(cell[(k + 1) % 3], cell[(k + 2) % 3]);
      return Math.abs(normal.reduce((sum, x, i) => sum + x * cell[k][i], 0)) / length(normal);
    });
  }

  // All atoms to draw: {z, at}, in the cells repeated and, with images, on their far faces too.
  function atomsOf(data, repeat, images) {
    const high = heights(data.cell);
    const found = [];
    data.fractions.forEach((f, atom) => {
      const steps = [0, 1, 2].map((k) => {
        if (!data.pbc[k]) return [0];
        const from = images && (1 - f[k]) * high[k] < NEAR_FACE ? -1 : 0;
        const to = images && f[k] * high[k] < NEAR_FACE ? repeat + 1 : repeat;
        return range(to - from).map((s) => s + from);
      });
      for (const a of steps[0])
        for (const b of steps[1])
          for (const c of steps[2])
            found.push({ z: data.numbers[atom], at: place(data.cell, [f[0] + a, f[1] + b, f[2] + c]) });
    });
    return found;
  }

  function cellLines(data, repeat) {
    const x = [], y = [], z = [];
    const counts = data.pbc.map((p) => (p ? repeat : 0));
    for (const k of [0, 1, 2]) {
      if (!data.pbc[k]) continue;
      const [i, j] = [(k + 1) % 3, (k + 2) % 3];
      for (const m of range(counts[i] + 1))
        for (const n of range(counts[j] + 1)) {
          const ends = [0, counts[k]].map((end) => { const f = [0, 0, 0]; f[i] = m; f[j] = n; f[k] = end; return place(data.cell, f); });
          for (const end of [...ends, [null, null, null]]) { x.push(end[0]); y.push(end[1]); z.push(end[2]); }
        }
    }
    return { type: "scatter3d", mode: "lines", x, y, z, line: { color: "#8a94a0", width: 2 }, hoverinfo: "skip", showlegend: false };
  }

  function bondLines(atoms) {
    const x = [], y = [], z = [];
    const reach = (a, b) => elements[a.z].radius + elements[b.z].radius + BOND_SLACK;
    for (let i = 0; i < atoms.length; i++)
      for (let j = 0; j < i; j++) {
        const [a, b] = [atoms[i], atoms[j]];
        const most = reach(a, b);
        if (Math.abs(a.at[0] - b.at[0]) > most || Math.abs(a.at[1] - b.at[1]) > most) continue;
        const way = [0, 1, 2].map((k) => b.at[k] - a.at[k]);
        const far = length(way);
        if (far > most || far === 0) continue;
        // From surface to surface: a line to the middle would be seen on the disc that stands for the atom.
        const [from, to] = [(SHARE * elements[a.z].radius) / far, 1 - (SHARE * elements[b.z].radius) / far];
        const ends = [from, to].map((s) => a.at.map((c, k) => c + s * way[k]));
        x.push(ends[0][0], ends[1][0], null); y.push(ends[0][1], ends[1][1], null); z.push(ends[0][2], ends[1][2], null);
      }
    return { type: "scatter3d", mode: "lines", x, y, z, line: { color: "#b9c1ca", width: 5 }, hoverinfo: "skip", showlegend: false };
  }

  function axisLabels(data) {
    const shown = [0, 1, 2].filter((k) => data.pbc[k]);
    const ends = shown.map((k) => { const v = data.cell[k]; const far = 1 + 0.6 / length(v); return v.map((c) => c * far); });
    return {
      type: "scatter3d", mode: "text", text: shown.map((k) => "abc"[k]), textfont: { size: 14, color: "#5f6b7a" },
      x: ends.map((e) => e[0]), y: ends.map((e) => e[1]), z: ends.map((e) => e[2]), hoverinfo: "skip", showlegend: false,
    };
  }

  function layoutOf(points) {
    const low = [0, 1, 2].map((k) => Math.min(...points.map((p) => p[k])));
    const high = [0, 1, 2].map((k) => Math.max(...points.map((p) => p[k])));
    const middle = [0, 1, 2].map((k) => (low[k] + high[k]) / 2);
    const half = Math.max(...points.map((p) => length([0, 1, 2].map((k) => p[k] - middle[k])))) + 0.8;
    const axis = (k) => ({ visible: false, range: [middle[k] - half, middle[k] + half] });
    const scene = {
      xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), aspectmode: "manual", aspectratio: { x: ZOOM, y: ZOOM, z: ZOOM }, dragmode: "orbit",
      camera: { eye: EYE, projection: { type: "orthographic" } },
    };
    const layout = {
      scene, margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)",
      legend: { itemsizing: "constant", x: 0.01, y: 0.99, bgcolor: "rgba(255,255,255,0.75)", font: { size: 13, color: "#1f2933", family: "system-ui, sans-serif" } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "#c3cad2", activecolor: "#5f6b7a" },
    };
    return { layout, half };
  }

  function atomTraces(atoms, half) {
    const scale = plot.clientHeight / (VISIBLE * 2 * half); // pixels per Å
    const kinds = [...new Set(atoms.map((atom) => atom.z))].sort((a, b) => a - b);
    return kinds.map((number) => {
      const { symbol, colour, radius } = elements[number];
      const own = atoms.filter((atom) => atom.z === number);
      const size = Math.max(2 * SHARE * radius * scale * MARKER, 3);
      return {
        type: "scatter3d", mode: "markers", name: symbol, x: own.map((a) => a.at[0]), y: own.map((a) => a.at[1]), z: own.map((a) => a.at[2]),
        marker: { size, color: colour, opacity: 1, line: { color: "#39434e", width: 1 } },
        hovertemplate: `${symbol}<br>%{x:.3f}, %{y:.3f}, %{z:.3f} Å<extra></extra>`, showlegend: true,
      };
    });
  }

  function draw() {
    const data = candidates[chosen];
    byId("why").hidden = !data.why;
    byId("why").textContent = data.why || "";
    plot.hidden = Boolean(data.why);
    if (data.why) return Promise.resolve();
    let repeat = Number(byId("repeat").value);
    let atoms = atomsOf(data, repeat, byId("images").checked);
    while (atoms.length > MOST_DRAWN && repeat > 1) atoms = atomsOf(data, --repeat, byId("images").checked);
    const corners = [0, 1].flatMap((a) => [0, 1].flatMap((b) => [0, 1].map((c) => place(data.cell, [a, b, c].map((s, k) => (data.pbc[k] ? s * repeat : 0))))));
    const { layout, half } = layoutOf([...corners, ...atoms.map((atom) => atom.at)]);
    const bonds = byId("bonds").checked && atoms.length <= MOST_BONDED ? [bondLines(atoms)] : [];
    const traces = [...bonds, cellLines(data, repeat), axisLabels(data), ...atomTraces(atoms, half)];
    // No button that uploads the figure (plotly.js 4 has one).
    const config = { displaylogo: false, responsive: true, showSendToCloud: false, modeBarButtonsToRemove: ["sendChartToCloud", "sendDataToCloud", "hoverClosest3d", "tableRotation", "resetCameraLastSave3d"] };
    return Plotly.react(plot, traces, layout, config);
  }

  function choose(number) {
    chosen = number;
    rows.forEach((row, k) => row.setAttribute("aria-selected", String(k === number)));
    const data = candidates[number];
    byId("chosen-formula").replaceChildren(...(data.formula.match(/\d+|\D+/g) || []).map((piece) => {
      if (!/\d/.test(piece)) return piece;
      const low = document.createElement("sub");
      low.textContent = piece;
      return low;
    }));
    byId("chosen-id").textContent = data.id;
    byId("chosen-facts").textContent = data.facts.map(([name, value]) => (name === "atoms" ? `${value} atoms` : `${name} = ${value}`)).join(", ");
    return draw();
  }

  rows.forEach((row, k) => {
    row.addEventListener("click", () => choose(k));
    row.addEventListener("keydown", (event) => {
      const next = { ArrowDown: k + 1, ArrowUp: k - 1 }[event.key];
      if (next === undefined || !rows[next]) return;
      event.preventDefault();
      rows[next].querySelector("button").focus();
      choose(next);
    });
  });
  for (const name of ["repeat", "images", "bonds"]) byId(name).addEventListener("change", draw);
  choose(0);
})();
