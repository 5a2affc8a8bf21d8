"use strict";
// Data of the page. They are scripts that call hybridcast.receive, because browsers load no JSON from a file.

const hybridcast = {
  // Called by each script with its name and content.
  receive(name, content) {
    document.currentScript.received = content;
  },

  // Load a script; resolve with its content.
  load(url) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const finish = () => {
        script.remove();
        if (script.received === undefined) reject(new Error(`${url} cannot be read`));
        else resolve(script.received);
      };
      script.onload = script.onerror = finish;
      script.src = url;
      document.head.append(script);
    });
  },

  // A path from a file of ours: names with letters, digits, dots and lines, and no way out of the folder.
  safePath(path) {
    const parts = String(path).split("/");
    const fine = parts.every((part) => /^[\w.-]+$/.test(part) && !/^\.+$/.test(part));
    if (!fine) throw new Error("the name of a folder is not allowed");
    return parts.join("/");
  },

  // An element with classes and text; text is never read as HTML.
  element(kind, className = "", text = "") {
    const made = document.createElement(kind);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  },

  shape(kind, attributes, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    return made;
  },
};

// --- samples of the forecast: bytes, see hybridcast/webmap/samples.py -------------------------------------------

hybridcast.samples = {
  async unpack(text) {
    if (!window.DecompressionStream) throw new Error("this browser is too old for meteograms");
    const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  },

  // What the forecast says at a sample; null outside the grid.
  async read(folder, forecast, row, column) {
    const layout = forecast.samples, size = layout.tile;
    const name = `${Math.floor(row / size)}_${Math.floor(column / size)}`;
    if (!layout.tiles.includes(name)) return null;
    const bytes = await this.unpack(await hybridcast.load(`${folder}/samples/${name}.js`));
    const high = Math.min(size, layout.rows - Math.floor(row / size) * size);
    const wide = Math.min(size, layout.columns - Math.floor(column / size) * size);
    const at = (row % size) * wide + (column % size);
    const plane = (number) => bytes[number * high * wide + at];
    return this.decode(forecast, plane);
  },

  decode(forecast, plane) {
    const layout = forecast.samples;
    const minutes = forecast.frames.filter((frame) => frame.kind === "forecast").map((frame) => frame.minutes);
    const rate = (code) => (code === layout.missing ? null : code === 0 ? 0 : layout.lowest * 2 ** ((code - 1) / layout.steps_per_octave));
    const fraction = (code) => (code === layout.missing ? null : code / 200);
    const time = (code) => (code === layout.missing ? null : code * layout.minutes);
    const found = { minutes, quantiles: {}, probabilities: {} };
    layout.planes.forEach((name, number) => {
      const codes = minutes.map((_, lead) => plane(number * minutes.length + lead));
      if (name === "rate") found.rate = codes.map(rate);
      else if (name.startsWith("rate_q")) found.quantiles[name.slice(6) / 100] = codes.map(rate);
      else found.probabilities[name.split("_")[1]] = codes.map(fraction);
    });
    layout.time_planes.forEach((name, number) => {
      const code = plane(layout.planes.length * minutes.length + number);
      found[name] = name.startsWith("probability") ? fraction(code) : time(code);
    });
    return found;
  },
};
