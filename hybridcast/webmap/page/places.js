"use strict";
// Places: their warning state, on the map and as a list.

hybridcast.places = (() => {
  const { element } = hybridcast;
  const SYMBOLS = { raised: "▲", quiet: "●", unknown: "?", outside: "?" };

  function state(place) {
    if (place.raised.length) return "raised";
    if (place.position === "outside") return "outside";
    const known = place.levels.some((level) => level.warning_probability !== null);
    return place.levels.length && !known ? "unknown" : "quiet";
  }

  function describe(place) {
    const found = state(place);
    if (found === "raised") return `warning: ${place.raised.map((one) => `${one.level} since ${clock(one.since)}`).join("; ")}`;
    if (found === "outside") return "outside the radar";
    if (found === "unknown") return "unknown";
    return place.levels.length ? "no warning" : "";
  }

  const clock = (time) => `${time.slice(11, 16)} UTC`;

  function icon(place) {
    const symbol = element("span", `place ${state(place)}`, SYMBOLS[state(place)]);
    symbol.setAttribute("aria-hidden", "true");
    return symbol;
  }

  // Put places on the map; call open(number) when one is chosen.
  function show(layer, forecast, open) {
    layer.clearLayers();
    forecast.places.forEach((place, number) => {
      const text = element("span", "", [place.name, describe(place)].filter(Boolean).join(": "));
      const drawn = place.point
        ? L.marker(place.point, { icon: L.divIcon({ html: icon(place), className: "place-icon", iconSize: [24, 24] }), alt: text.textContent })
        : L.polygon(place.polygons, { className: `area ${state(place)}`, weight: 2 });
      drawn.bindTooltip(text).on("click", (event) => {
        L.DomEvent.stop(event);
        open(number);
      });
      layer.addLayer(drawn);
    });
  }

  function list(forecast, open) {
    const made = element("ul", "places");
    const order = ["raised", "quiet", "unknown", "outside"];
    const numbers = forecast.places.map((_, number) => number);
    numbers.sort((a, b) => order.indexOf(state(forecast.places[a])) - order.indexOf(state(forecast.places[b])));
    for (const number of numbers) {
      const place = forecast.places[number];
      const button = element("button", "place-row");
      button.type = "button";
      const levels = place.levels.map((level) => `${level.name}: ${level.warning_probability === null ? "unknown" : hybridcast.meteogram.percent(level.warning_probability)}`);
      button.append(icon(place), element("span", "place-name", place.name), element("span", "place-state", describe(place)), element("span", "place-levels", levels.join(" · ")));
      button.addEventListener("click", () => open(number));
      const row = element("li");
      row.append(button);
      made.append(row);
    }
    return made;
  }

  // What a forecast says of a place as the series of a meteogram.
  function series(forecast, product) {
    const cell = Object.values(product.statistics)[0];
    const minutes = forecast.frames.filter((frame) => frame.kind === "forecast").map((frame) => frame.minutes);
    const isKnown = (values) => values.some((value) => value !== null);
    const quantiles = Object.fromEntries(Object.entries(cell.rate_quantile).filter(([, values]) => isKnown(values)));
    const found = { minutes, rate: cell.precipitation_rate, quantiles, probabilities: cell.probability_of_exceedance };
    for (const name of ["minutes_to_rain", "minutes_to_end"]) {
      for (const level of ["0.1", "0.5", "0.9"]) found[`${name}_q${100 * level}`] = cell[`${name}_quantile`][level] ?? null;
    }
    return { ...found, known: cell.minutes_known, probability_of_rain: cell.probability_of_rain, probability_of_end: cell.probability_of_end };
  }

  function centre(place) {
    return place.point ? L.latLng(place.point) : L.polygon(place.polygons).getBounds().getCenter();
  }

  return { centre, describe, list, series, show, state };
})();
