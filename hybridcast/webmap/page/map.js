"use strict";
// The page: which forecast, which frame, which layer; the time slider, the panel, and updates.

(() => {
  const { element } = hybridcast;
  const get = (id) => document.getElementById(id);
  const STEP_MS = 450, LAST_MS = 1500;
  const state = { latest: null, forecast: null, folder: "", settings: {}, frame: 0, layer: "rain", timer: null, panel: null };
  let map = null, outlines = null, places = null, shown = "";
  const pictures = new Map();

  // --- loading ---------------------------------------------------------------------------------------------------

  async function start() {
    try {
      state.settings = await hybridcast.load("settings.js");
      outlines = await hybridcast.load("outlines.js");
      await update();
    } catch (error) {
      notify(`The forecast cannot be shown: ${error.message}.`);
    }
    setInterval(poll, 1000 * state.settings.poll_seconds);
    setInterval(showAge, 15000);
    document.addEventListener("visibilitychange", () => document.hidden || poll());
  }

  async function poll() {
    if (document.hidden) return;
    try {
      await update();
    } catch (error) {
      notify(`No news: ${error.message}. It is tried again.`);
    }
  }

  async function update() {
    const latest = await hybridcast.load(`latest.js?${Date.now()}`);
    const version = (one) => one && [one.data, one.issue_time, one.revision].join(" ");
    if (version(latest) === version(state.latest)) return notify("");
    const folder = hybridcast.safePath(latest.data);
    const forecast = await hybridcast.load(`${folder}/forecast.js?${latest.revision}`);
    const minutes = state.forecast ? state.forecast.frames[state.frame].minutes : 0;
    Object.assign(state, { latest, folder, forecast });
    if (!map) begin();
    forget();
    buildTimes();
    buildChoices();
    hybridcast.places.show(places, forecast, openPlace);
    state.frame = nearestFrame(minutes);
    document.title = [forecast.title, "rain nowcast"].filter(Boolean).join(": ");
    get("title").textContent = forecast.title || "Rain nowcast";
    notify("");
    showAge();
    show();
    if (state.panel) state.panel.again();
  }

  function nearestFrame(minutes) {
    const distance = (frame) => Math.abs(frame.minutes - minutes);
    const frames = state.forecast.frames;
    return frames.reduce((best, frame, number) => (distance(frame) < distance(frames[best]) ? number : best), 0);
  }

  function begin() {
    map = hybridcast.makeMap(state.forecast, outlines, state.settings);
    places = L.featureGroup().addTo(map);
    const isNarrow = map.getSize().x <= 700;
    map.fitBounds(state.forecast.bounds, { paddingTopLeft: [8, isNarrow ? 140 : 60], paddingBottomRight: [8, isNarrow ? 160 : 110] });
    map.setMinZoom(map.getZoom() - 1.5);
    map.on("click", (event) => openPoint(event.latlng));
    map.on("zoomend", sharpen);
    map.getContainer().addEventListener("keydown", (event) => event.key === "Enter" && event.target === map.getContainer() && openPoint(map.getCenter()));
    sharpen();
  }

  // Large pixels are shown as squares, small ones smoothly.
  function sharpen() {
    const [south, north] = [state.forecast.bounds[0], state.forecast.bounds[1]].map((corner) => map.latLngToContainerPoint(corner));
    map.getContainer().classList.toggle("pixels", Math.abs(south.y - north.y) / state.forecast.size[0] > 1.2);
  }

  // --- pictures --------------------------------------------------------------------------------------------------

  function pictureOf(frame) {
    return state.layer === "rain" ? frame.rain : frame.probability[state.layer];
  }

  function prepare(file) {
    const url = `${state.folder}/${hybridcast.safePath(file)}?${state.latest.revision}`;
    if (pictures.has(url)) return url;
    const picture = L.imageOverlay(url, state.forecast.bounds, { pane: "rain", className: "picture", alt: "" });
    picture.on("load", () => {
      picture.isReady = true;
      if (shown === url) reveal();
    });
    picture.on("error", () => shown === url && notify("A picture is missing."));
    pictures.set(url, picture);
    picture.addTo(map);
    return url;
  }

  function reveal() {
    const picture = pictures.get(shown);
    if (picture && !picture.isReady) return; // the one before stays until this one is there
    pictures.forEach((one, url) => one.getElement().classList.toggle("now", url === shown));
  }

  function forget() {
    pictures.forEach((picture) => picture.remove());
    pictures.clear();
    shown = "";
  }

  // --- time ------------------------------------------------------------------------------------------------------

  function buildTimes() {
    const frames = state.forecast.frames, slider = get("slider"), ticks = get("ticks");
    slider.max = frames.length - 1;
    const past = frames.filter((frame) => frame.kind === "observed").length;
    const now = Math.max(0, past - 1) / Math.max(1, frames.length - 1);
    get("track").style.setProperty("--now", `${100 * now}%`);
    ticks.replaceChildren();
    frames.forEach((frame, number) => {
      if (frame.minutes % 30 && number) return;
      const tick = element("span", "", frame.minutes ? lead(frame.minutes) : "now");
      tick.style.left = `${(100 * number) / Math.max(1, frames.length - 1)}%`;
      ticks.append(tick);
    });
  }

  const lead = (minutes) => `${minutes > 0 ? "+" : "−"}${Math.abs(minutes)}`;
  const utc = (time) => `${time.slice(11, 16)} UTC`;
  const local = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

  function show() {
    const frame = state.forecast.frames[state.frame];
    const file = pictureOf(frame);
    shown = file ? prepare(file) : "";
    reveal();
    const isObserved = frame.kind === "observed";
    const words = isObserved ? (frame.minutes ? `${lead(frame.minutes)} min` : "now") : `${lead(frame.minutes)} min`;
    const here = new Date(frame.time).getTimezoneOffset() ? ` · ${local(frame.time)} here` : "";
    const kind = isObserved ? "observed" : "forecast";
    get("now").replaceChildren(element("b", "", words), element("span", "kind", kind), element("span", "clock", `${utc(frame.time)}${here}`));
    get("slider").value = state.frame;
    get("slider").setAttribute("aria-valuetext", `${words}, ${kind}, ${utc(frame.time)}`);
    get("legend").classList.toggle("no-data", !file);
    get("legend").dataset.note = file ? "" : "Probabilities are of the forecast only.";
    if (state.panel && state.panel.follow) state.panel.follow();
  }

  function go(frame) {
    const count = state.forecast.frames.length;
    state.frame = Math.min(count - 1, Math.max(0, frame));
    show();
  }

  function play(on) {
    clearTimeout(state.timer);
    state.timer = null;
    const button = get("play");
    button.setAttribute("aria-pressed", String(on));
    button.setAttribute("aria-label", on ? "Stop" : "Play");
    if (!on) return;
    state.forecast.frames.forEach((frame) => pictureOf(frame) && prepare(pictureOf(frame)));
    const next = () => {
      const last = state.frame === state.forecast.frames.length - 1;
      go(last ? 0 : state.frame + 1);
      state.timer = setTimeout(next, state.frame === state.forecast.frames.length - 1 ? LAST_MS : STEP_MS);
    };
    state.timer = setTimeout(next, STEP_MS / 3);
  }

  // --- choices and legend ----------------------------------------------------------------------------------------

  function buildChoices() {
    const choices = get("choices"), forecast = state.forecast;
    if (state.layer !== "rain" && state.layer >= forecast.thresholds.length) state.layer = "rain";
    choices.replaceChildren(layerButton("rain", "Rain", "mm/h"));
    forecast.thresholds.forEach((threshold, number) => choices.append(layerButton(number, `≥ ${threshold}`, "% chance")));
    if (forecast.members) choices.append(panelButton("Members", openMembers));
    if (forecast.places.length) choices.append(panelButton(`Places`, openPlaces, forecast.places.filter((one) => hybridcast.places.state(one) === "raised").length));
    choices.append(panelButton("About", openAbout));
    buildLegend();
  }

  function layerButton(layer, text, unit) {
    const button = element("button", "layer", text);
    button.type = "button";
    button.append(element("small", "", unit));
    button.setAttribute("aria-pressed", String(state.layer === layer));
    button.addEventListener("click", () => chooseLayer(layer));
    return button;
  }

  function chooseLayer(layer) {
    state.layer = layer;
    if (layer !== "rain" && state.forecast.frames[state.frame].kind === "observed") {
      state.frame = state.forecast.frames.findIndex((frame) => frame.kind === "forecast");
    }
    forget();
    buildChoices();
    show();
    if (state.timer) play(true);
  }

  function panelButton(text, open, count = 0) {
    const button = element("button", "open", text);
    button.type = "button";
    if (count) button.append(element("span", "count", `▲ ${count}`));
    button.addEventListener("click", open);
    return button;
  }

  function buildLegend() {
    const isRain = state.layer === "rain", legend = get("legend");
    const steps = state.forecast.legend[isRain ? "rain" : "probability"];
    const title = isRain ? "mm/h" : `chance of ${state.forecast.thresholds[state.layer]} mm/h or more`;
    const bar = element("div", "bar");
    for (const step of steps) {
      const part = element("div", "step");
      const colour = element("i", "colour");
      colour.style.backgroundColor = step.colour;
      part.append(colour, element("span", "", isRain ? step.from : Math.round(100 * step.from)));
      bar.append(part);
    }
    const unknown = element("div", "step unknown");
    unknown.append(element("i", "colour stripes"), element("span", "", "unknown"));
    legend.replaceChildren(element("span", "legend-title", isRain ? title : `${title}, %`), bar, unknown);
  }

  // --- panel -----------------------------------------------------------------------------------------------------

  function openPanel(title, content, again, follow = null) {
    const heading = element("h2", "", title);
    get("content").replaceChildren(heading, content);
    get("panel").hidden = false;
    document.body.classList.add("has-panel");
    state.panel = { again, follow };
  }

  function closePanel() {
    get("panel").hidden = true;
    document.body.classList.remove("has-panel");
    state.panel = null;
    if (state.mark) state.mark.remove();
  }

  const currentMinutes = () => state.forecast.frames[state.frame].minutes;

  function mark(latlng) {
    if (state.mark) state.mark.remove();
    state.mark = L.circleMarker(latlng, { radius: 7, className: "mark", interactive: false, pane: "shapes" }).addTo(map);
    const { x, y } = map.getSize();
    if (x <= 700) map.panInside(latlng, { paddingTopLeft: [20, 150], paddingBottomRight: [20, 0.6 * y] }); // above the panel
  }

  async function openPoint(latlng) {
    const forecast = state.forecast, latest = state.latest, sample = locate(latlng);
    const again = () => openPoint(latlng);
    mark(sample ? sample.latlng : latlng);
    const title = position(sample ? sample.latlng : latlng);
    try {
      const series = sample && (await hybridcast.samples.read(state.folder, forecast, sample.row, sample.column));
      if (latest !== state.latest) return; // a newer forecast has come, and opens it again
      if (!series || series.minutes.length === 0) return openPanel(title, element("p", "", "This point is outside the radar: unknown."), again);
      openMeteogram(title, series, again, precision());
    } catch (error) {
      openPanel(title, element("p", "", `The forecast of this point cannot be read: ${error.message}.`), again);
    }
  }

  function precision() {
    const layout = state.forecast.samples;
    return layout.stride > 1 ? `On this page meteograms are of every ${layout.stride}th pixel, ${layout.kilometres} km apart; the nearest one is shown.` : "";
  }

  function openMeteogram(title, series, again, note) {
    const content = element("div");
    const follow = () => {
      const parts = [hybridcast.meteogram.draw(series, currentMinutes())];
      if (note) parts.push(element("p", "note", note));
      content.replaceChildren(...parts);
    };
    follow();
    openPanel(title, content, again, follow);
  }

  // The sample nearest to a point; null outside the picture.
  function locate(latlng) {
    const { bounds, size, samples } = state.forecast, crs = map.options.crs;
    const [south, north] = bounds.map((corner) => crs.project(L.latLng(corner)));
    const middle = (bounds[0][1] + bounds[1][1]) / 2;
    const turns = state.forecast.is_local ? 0 : Math.round((latlng.lng - middle) / 360);
    const point = crs.project(L.latLng(latlng.lat, latlng.lng - 360 * turns));
    const column = ((point.x - south.x) / (north.x - south.x)) * size[1], row = ((north.y - point.y) / (north.y - south.y)) * size[0];
    if (row < 0 || column < 0 || row >= size[0] || column >= size[1]) return null;
    const nearest = (value, count) => Math.min(count - 1, Math.max(0, Math.round((Math.floor(value) - samples.offset) / samples.stride)));
    const found = { row: nearest(row, samples.rows), column: nearest(column, samples.columns) };
    const centre = (number) => number * samples.stride + samples.offset + 0.5;
    const x = south.x + ((north.x - south.x) * centre(found.column)) / size[1], y = north.y - ((north.y - south.y) * centre(found.row)) / size[0];
    return { ...found, latlng: crs.unproject(L.point(x, y)) };
  }

  function position(latlng) {
    if (state.forecast.is_local) return `x ${(latlng.lng / 1000).toFixed(1)} km, y ${(latlng.lat / 1000).toFixed(1)} km`;
    const east = ((latlng.lng + 540) % 360) - 180;
    return `${Math.abs(latlng.lat).toFixed(2)}° ${latlng.lat < 0 ? "S" : "N"}, ${Math.abs(east).toFixed(2)}° ${east < 0 ? "W" : "E"}`;
  }

  async function openPlace(number) {
    const latest = state.latest, place = state.forecast.places[number];
    const again = () => {
      const found = state.forecast.places.findIndex((one) => one.name === place.name);
      if (found < 0) closePanel();
      else openPlace(found);
    };
    const centre = hybridcast.places.centre(place);
    mark(centre);
    if (place.position !== "outside" && !map.getBounds().contains(centre)) map.panTo(centre);
    const product = await hybridcast.load(`${state.folder}/places/${number}.js?${latest.revision}`);
    if (latest !== state.latest) return;
    openMeteogram(place.name, hybridcast.places.series(state.forecast, product), again, hybridcast.places.describe(place));
  }

  function openPlaces() {
    openPanel("Places", hybridcast.places.list(state.forecast, openPlace), openPlaces);
  }

  function openMembers() {
    const frames = state.forecast.frames, content = element("div");
    const [south, north] = state.forecast.bounds.map((corner) => map.options.crs.project(L.latLng(corner)));
    const toPart = (point) => {
      const at = map.options.crs.project(L.latLng(point));
      return [(at.x - south.x) / (north.x - south.x), (north.y - at.y) / (north.y - south.y)];
    };
    const coast = hybridcast.coastPath([...outlines.coast, ...outlines.borders], toPart);
    const follow = () => {
      const frame = frames[state.frame].members ? frames[state.frame] : frames.find((one) => one.members);
      const text = `${state.forecast.members.count} possible courses of the rain, at ${lead(frame.minutes)} min.`;
      content.replaceChildren(element("p", "note", text), hybridcast.drawMembers(state.folder, state.forecast, frame, coast));
    };
    follow();
    openPanel("Members", content, openMembers, follow);
  }

  function openAbout() {
    const about = state.forecast.about, content = element("div", "about");
    const names = { nowcaster: "Method", status: "Status", sources_used: "Sources used", sources_left_out: "Left out", motion_status: "Motion", hybridcast_version: "Version" };
    const list = element("dl");
    for (const [name, text] of Object.entries(names)) {
      if (about[name]) list.append(element("dt", "", text), element("dd", "", about[name]));
    }
    content.append(list);
    if (state.forecast.is_local) content.append(element("p", "note", "The position of this radar on Earth is not known, so there are no coastlines."));
    content.append(element("p", "note", "Striped grey: no radar sees what is or comes there, so it is unknown, not dry. Keys: left and right arrow step through time, space plays, R and 1 to 9 choose what is shown, M, P and A open panels, Enter on the map asks for its middle, Esc closes."));
    openPanel("About this forecast", content, openAbout);
  }

  // --- head ------------------------------------------------------------------------------------------------------

  function notify(text) {
    get("notice").textContent = text;
  }

  function showAge() {
    if (!state.forecast) return;
    const issue = state.forecast.issue_time, age = (Date.now() - new Date(issue)) / 60000;
    const isOld = state.settings.alert_minutes !== null && age > state.settings.alert_minutes;
    const since = age >= 0 && age < 24 * 60 ? `, ${age < 90 ? `${Math.round(age)} min` : `${Math.round(age / 60)} h`} ago` : "";
    get("issued").textContent = `Forecast of ${issue.slice(0, 10)} ${utc(issue)}${since}${isOld ? ": too old" : ""}`;
    get("issued").classList.toggle("old", isOld);
  }

  // --- controls --------------------------------------------------------------------------------------------------

  function onKey(event) {
    if (!state.forecast || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target, onMap = target === get("map"), onButton = target.tagName === "BUTTON", onSlider = target === get("slider");
    if (event.key === "Escape") return closePanel();
    if (event.key === " " && !onButton) { event.preventDefault(); return play(!state.timer); }
    if (!onMap && !onSlider && event.key === "ArrowLeft") return go(state.frame - 1);
    if (!onMap && !onSlider && event.key === "ArrowRight") return go(state.frame + 1);
    const key = event.key.toLowerCase(), number = Number(key);
    if (key === "r") chooseLayer("rain");
    else if (number >= 1 && number <= state.forecast.thresholds.length) chooseLayer(number - 1);
    else if (key === "m" && state.forecast.members) openMembers();
    else if (key === "p" && state.forecast.places.length) openPlaces();
    else if (key === "a") openAbout();
  }

  get("slider").addEventListener("input", () => { play(false); go(Number(get("slider").value)); });
  get("play").addEventListener("click", () => state.forecast && play(!state.timer));
  get("back").addEventListener("click", () => state.forecast && go(state.frame - 1));
  get("on").addEventListener("click", () => state.forecast && go(state.frame + 1));
  get("close").addEventListener("click", closePanel);
  document.addEventListener("keydown", onKey);
  start();
})();
