"use strict";
// A meteogram: when it rains in words, the rate with its spread, and the probability of each threshold.

hybridcast.meteogram = (() => {
  const WIDTH = 340, LEFT = 38, RIGHT = 4;
  const { element, shape } = hybridcast;

  // Sentences about the beginning and the end of rain.
  function describe(series) {
    const lines = [];
    const until = series.known ? `in the next ${series.known} min` : "";
    if (!series.known && series.rate.every((value) => value === null)) {
      return ["Unknown: no radar sees what comes here."];
    }
    const isGiven = (value) => value !== null && value !== undefined;
    const chance = series.probability_of_rain;
    if (isGiven(chance)) lines.push(`Chance of rain ${until}: ${percent(chance)}.`);
    const onset = span(series, "minutes_to_rain"), end = span(series, "minutes_to_end");
    const raining = onset && onset.middle <= 0, likely = !isGiven(chance) || chance >= 0.5;
    if (raining) lines.push("It is raining.");
    else if (onset) lines.push(likely ? `Rain begins in ${onset.text}.` : `If it rains, it begins in ${onset.text}.`);
    else if (chance === 0) lines.push("No rain is expected.");
    const ends = end && (!isGiven(series.probability_of_end) || series.probability_of_end >= 0.5);
    if (ends && (raining || (onset && likely && end.middle > onset.middle))) lines.push(`It ends in ${end.text}.`);
    const isUnknown = series.rate.map((value) => value === null), known = isUnknown.indexOf(false);
    if (known > 0) lines.push(`Unknown up to +${series.minutes[known - 1]} min.`);
    const gap = isUnknown.indexOf(true, known);
    if (gap > 0) lines.push(`Unknown from +${series.minutes[gap]} min on.`);
    return lines;
  }

  function span(series, name) {
    const [low, middle, high] = ["10", "50", "90"].map((level) => series[`${name}_q${level}`]);
    if (middle === null || middle === undefined) return null;
    const range = low !== null && high !== null && low !== high ? ` (${Math.round(low)} to ${Math.round(high)})` : "";
    return { middle, text: `${Math.round(middle)} min${range}` };
  }

  const percent = (value) => `${Math.round(100 * value)} %`;

  function draw(series, minutes) {
    const made = element("div", "meteogram");
    for (const line of describe(series)) made.append(element("p", "sentence", line));
    made.append(drawRates(series, minutes));
    if (Object.keys(series.probabilities).length) made.append(drawProbabilities(series, minutes));
    return made;
  }

  function axes(series, minutes, height, top, ticks, format, title) {
    const last = series.minutes[series.minutes.length - 1];
    const x = (time) => LEFT + ((WIDTH - LEFT - RIGHT) * time) / last;
    const y = (value) => height - 18 - (height - 42) * Math.min(1, value / top);
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title, class: "chart" });
    svg.append(shape("text", { x: 2, y: 10, class: "heading" }, title));
    shadeUnknown(svg, series, x, height);
    for (const value of ticks) {
      svg.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }));
      svg.append(shape("text", { x: LEFT - 4, y: y(value) + 3, class: "label end" }, format(value)));
    }
    const step = last > 150 ? 60 : last > 60 ? 30 : 15;
    for (let time = 0; time <= last; time += step) {
      svg.append(shape("text", { x: x(time), y: height - 5, class: time === last ? "label end" : "label middle" }, time ? `+${time}` : "now"));
    }
    if (minutes > 0) svg.append(shape("line", { x1: x(minutes), x2: x(minutes), y1: 24, y2: height - 18, class: "shown" }));
    return { svg, x, y };
  }

  function shadeUnknown(svg, series, x, height) {
    const times = [0, ...series.minutes];
    series.rate.forEach((value, number) => {
      if (value !== null) return;
      const from = x(times[number]), to = x(times[number + 1]);
      svg.append(shape("rect", { x: from, width: to - from, y: 24, height: height - 42, fill: "url(#stripes)" }));
    });
  }

  function drawRates(series, minutes) {
    const all = [series.rate, ...Object.values(series.quantiles)].flat().filter((value) => value !== null);
    const top = niceTop(Math.max(1, ...all));
    const { svg, x, y } = axes(series, minutes, 150, top, [0, top / 2, top], (value) => value, "Rate, mm/h");
    const levels = Object.keys(series.quantiles).map(Number).sort((a, b) => a - b);
    for (let k = 0; k < Math.floor(levels.length / 2); k += 1) {
      band(svg, series.minutes, series.quantiles[levels[k]], series.quantiles[levels[levels.length - 1 - k]], x, y);
    }
    if (series.quantiles["0.5"]) line(svg, series.minutes, series.quantiles["0.5"], x, y, "median");
    line(svg, series.minutes, series.rate, x, y, "rate");
    const figure = element("figure");
    const spread = levels.length ? `; bands: ${levels.length > 3 ? "50 and " : ""}80 % of the members; dashed: their median` : "";
    figure.append(svg, element("figcaption", "", `Line: the forecast${spread}.`));
    return figure;
  }

  function drawProbabilities(series, minutes) {
    const { svg, x, y } = axes(series, minutes, 130, 1, [0, 0.5, 1], percent, "Probability");
    const names = Object.keys(series.probabilities).sort((a, b) => a - b);
    names.forEach((name, number) => line(svg, series.minutes, series.probabilities[name], x, y, `chance chance${number % 3}`));
    const caption = element("figcaption");
    names.forEach((name, number) => caption.append(element("span", `key chance${number % 3}`, `≥ ${name} mm/h`)));
    const figure = element("figure");
    figure.append(svg, caption);
    return figure;
  }

  function niceTop(value) {
    const base = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 4, 6, 10].map((factor) => factor * base).find((top) => top >= value);
  }

  // Parts of a series without gaps, as lists of x and y.
  function parts(times, values, x, y) {
    const found = [[]];
    values.forEach((value, number) => {
      if (value === null) found.push([]);
      else found[found.length - 1].push([x(times[number]).toFixed(1), y(value).toFixed(1)]);
    });
    return found.filter((part) => part.length);
  }

  function line(svg, times, values, x, y, className) {
    for (const part of parts(times, values, x, y)) {
      if (part.length === 1) svg.append(shape("circle", { cx: part[0][0], cy: part[0][1], r: 1.5, class: `dot ${className}` }));
      else svg.append(shape("polyline", { points: part.join(" "), class: `line ${className}` }));
    }
  }

  function band(svg, times, low, high, x, y) {
    const lower = parts(times, low, x, y), upper = parts(times, high, x, y);
    lower.forEach((part, number) => {
      const points = [...part, ...[...upper[number]].reverse()];
      svg.append(shape("polygon", { points: points.join(" "), class: "band" }));
    });
  }

  return { draw, percent };
})();
