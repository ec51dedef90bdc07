"""The live page without JupyterLab: the Explorer's module in Chromium, its kernel in this process.

What the page sets or sends goes to the widget as a comm message would; what the widget changes goes back.
"""

import base64

from dmlviz.widgets.assets import built

HOST = """
const page = globalThis;
const decode = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const revive = (value) => {
  if (value && typeof value === "object") {
    if ("base64" in value) return decode(value.base64);
    for (const name of Object.keys(value)) value[name] = revive(value[name]);
  }
  return value;
};
class KernelModel {
  values = new Map(); listeners = new Map(); pending = {}; sent = [];
  get(name) { return this.values.get(name) ?? null; }
  set(name, value) { this.values.set(name, value); this.pending[name] = value; this.fire(name); }
  fire(name) { for (const act of this.listeners.get(`change:${name}`) ?? []) act(); }
  on(name, act) { this.listeners.set(name, [...(this.listeners.get(name) ?? []), act]); }
  off() {}
  save_changes() { const state = this.pending; this.pending = {}; this.ask({ state }); }
  send(content) { this.sent.push(content); this.ask({ content }); }
  async ask(message) { this.take(await page.kernel(message)); }
  take(changed) {
    for (const [name, value] of Object.entries(changed)) this.values.set(name, revive(value));
    for (const name of Object.keys(changed)) this.fire(name);
  }
}
page.model = new KernelModel();
page.start = async (source) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  page.model.take(await page.kernel({}));
  widget.render({ model: page.model, el: document.body });
};
0
"""


def show(page, explorer):
    """Open a live Explorer on a Playwright page, plotly and all."""
    told = {}

    def kernel(message):
        if "state" in message:
            explorer.set_state(message["state"])
        if "content" in message:
            explorer._handle_custom_msg(message["content"], [])
        return changes()

    def changes():
        out = {}
        for name in explorer.keys:
            value = getattr(explorer, name)
            if name in ("_esm", "_plotly", "layout", "_css") or name.startswith(
                ("_view", "_model", "_dom", "tab")
            ):
                continue
            if name not in told or (told[name] is not value and told[name] != value):
                told[name] = value
                out[name] = _plain(value)
        return out

    page.expose_function("kernel", kernel)
    page.goto("about:blank")
    page.evaluate(HOST)
    plotly = {"_plotly": {"base64": base64.b64encode(built("plotly.js.gz")).decode()}}
    page.evaluate("changed => model.take(changed)", plotly)
    page.evaluate("source => start(source)", built("explorer.js").decode("utf-8"))
    page.wait_for_selector("[data-testid=explorer][data-plotly=ready]", timeout=60_000)
    return lambda: page.evaluate("changed => model.take(changed)", changes())


def _plain(value):
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value
