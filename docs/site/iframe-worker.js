// Where a page comes from a disk, browsers refuse to start a worker, and the search of the site is one. There its script
// runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = "<!doctype html>";
      this.ready = new Promise((resolve) => {
        this.frame.onload = () => {
          const inside = this.frame.contentWindow;
          // As a worker's, each side has a copy of what it is sent: both change it.
          inside.postMessage = (sent) => {
            const data = structuredClone(sent);
            queueMicrotask(() => this.onmessage?.({ data }));
          };
          const script = inside.document.createElement("script");
          script.src = new URL(url, location.href);
          script.onload = () => resolve(inside);
          script.onerror = (event) => this.onerror?.(event);
          inside.document.head.append(script);
        };
      });
      document.body.append(this.frame);
    }

    postMessage(sent) {
      const data = structuredClone(sent);
      this.ready.then((inside) => inside.onmessage({ data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
