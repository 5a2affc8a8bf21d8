"use strict";
// The members of the ensemble side by side, each with the coastlines.

hybridcast.drawMembers = (folder, forecast, frame, coast) => {
  const { element, shape } = hybridcast;
  const sheet = forecast.members, rows = Math.ceil(sheet.count / sheet.columns);
  const made = element("div", "members");
  for (let number = 0; number < sheet.count; number += 1) {
    const row = Math.floor(number / sheet.columns), column = number % sheet.columns;
    const tile = element("div", "member");
    tile.style.aspectRatio = `${sheet.width} / ${sheet.height}`;
    const rain = element("div", "member-rain");
    rain.style.backgroundImage = `url("${folder}/${hybridcast.safePath(frame.members)}")`;
    rain.style.backgroundSize = `${100 * sheet.columns}% ${100 * rows}%`;
    const along = (position, count) => (count > 1 ? (100 * position) / (count - 1) : 0);
    rain.style.backgroundPosition = `${along(column, sheet.columns)}% ${along(row, rows)}%`;
    const lines = shape("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
    lines.append(shape("path", { d: coast, class: "member-coast" }));
    tile.append(rain, lines, element("span", "member-number", String(number + 1)));
    made.append(tile);
  }
  return made;
};

// Coastlines as a path on a square of 1000, by a function from latitude and longitude to parts of the picture.
hybridcast.coastPath = (lines, toPart) =>
  lines
    .map((line) => {
      let last = null;
      const points = [];
      for (const point of line) {
        const [x, y] = toPart(point).map((part) => Math.round(1000 * part));
        if (last && Math.abs(last[0] - x) + Math.abs(last[1] - y) < 6) continue;
        last = [x, y];
        points.push(`${x} ${y}`);
      }
      return points.length > 1 ? `M${points.join("L")}` : "";
    })
    .join("");
