"use strict";
// The map below the rain: land, coastlines, borders, own tiles, and what is beyond the radar.

hybridcast.makeMap = (forecast, outlines, settings) => {
  const bounds = L.latLngBounds(forecast.bounds);
  const map = L.map("map", {
    crs: forecast.is_local ? L.CRS.Simple : L.CRS.EPSG3857,
    attributionControl: false, zoomControl: false, zoomSnap: 0.25, zoomDelta: 1, wheelPxPerZoomLevel: 120,
    minZoom: forecast.is_local ? -20 : 1, maxZoom: forecast.is_local ? -5 : 13,
    maxBounds: bounds.pad(0.6), maxBoundsViscosity: 0.8,
  });
  L.control.zoom({ position: "topright" }).addTo(map);
  const panes = { ground: 210, rain: 300, beyond: 320, lines: 340, shapes: 420 };
  for (const [name, level] of Object.entries(panes)) {
    map.createPane(name).style.zIndex = level;
    if (name !== "shapes") map.getPane(name).style.pointerEvents = "none";
  }
  map.getContainer().classList.toggle("local", forecast.is_local);
  addGround(map, forecast, outlines, settings, bounds);
  addAttribution(map, forecast, settings);
  L.control.scale({ position: "bottomright", imperial: false }).addTo(map);
  return map;

  function addGround() {
    const drawer = (pane) => L.svg({ pane, padding: 0.5 });
    const [ground, beyond, lines] = ["ground", "beyond", "lines"].map(drawer);
    if (settings.tiles) L.tileLayer(settings.tiles, { maxZoom: 19, pane: "tilePane" }).addTo(map);
    else if (outlines.land.length) L.polygon(outlines.land, { renderer: ground, className: "land", interactive: false, stroke: false, smoothFactor: 1 }).addTo(map);
    const far = bounds.pad(4), ring = (box) => [box.getSouthWest(), box.getNorthWest(), box.getNorthEast(), box.getSouthEast()];
    if (!forecast.is_local) far.extend([[84.9, far.getWest()]]);
    L.polygon([ring(far), ring(bounds)], { renderer: beyond, fillColor: "url(#stripes)", fillOpacity: 1, stroke: false, interactive: false }).addTo(map);
    L.rectangle(bounds, { renderer: beyond, className: "rim", fill: false, interactive: false }).addTo(map);
    for (const [kind, shapes] of [["border", outlines.borders], ["coast", outlines.coast]]) {
      if (shapes.length) L.polyline(shapes, { renderer: lines, className: kind, interactive: false, smoothFactor: 1 }).addTo(map);
    }
  }

  function addAttribution() {
    const escape = (text) => {
      const span = document.createElement("span");
      span.textContent = text;
      return span.innerHTML;
    };
    const parts = ["hybridcast", "Leaflet"];
    if (!forecast.is_local) parts.push("Natural Earth");
    if (settings.attribution) parts.push(settings.attribution);
    L.control.attribution({ position: "bottomright", prefix: false }).addAttribution(escape(parts.join(" · "))).addTo(map);
  }
};
