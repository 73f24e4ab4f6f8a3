/* All games of the page: shared out among workers, which are made of the page's own scripts, or on the page itself
   where there are none. */
Playground.define("crew", ["team"], (team) => {
  "use strict";

  /** @typedef {{send: (message: any) => void, end: () => void}} Hand */

  /**
   * A worker made of this page's scripts, which a page opened as a file may have too.
   * @param {(message: any) => void} hear
   * @param {(words: string) => void} fail
   * @returns {Hand}
   */
  function worker(hear, fail) {
    const body = `${Playground.source(["team"])}
      const { port1, port2 } = new MessageChannel();
      let next = null;
      port1.onmessage = () => next();
      const soon = (then) => { next = then; port2.postMessage(0); };
      const handle = Playground.require("team").host((message) => postMessage(message), soon);
      onmessage = (event) => handle(event.data);`;
    const address = URL.createObjectURL(new Blob([body], { type: "text/javascript" }));
    const made = new Worker(address);
    made.onmessage = (event) => {
      URL.revokeObjectURL(address);
      hear(event.data);
    };
    made.onerror = (event) => fail(event.message || "The worker could not be started.");
    return { send: (message) => made.postMessage(message), end: () => made.terminate() };
  }

  /**
   * The same on the page itself, in slices between which the page answers.
   * @param {(message: any) => void} hear
   * @returns {Hand}
   */
  function onPage(hear) {
    let ended = false;
    const later = (/** @type {() => void} */ then) => setTimeout(() => ended || then(), 4);
    const handle = team.host((/** @type {any} */ message) => later(() => hear(message)), later);
    return { send: handle, end: () => { ended = true; } };
  }

  /** The games of all seeds. */
  class Crew {
    /**
     * @param {Settings} settings
     * @param {number} workers how many, at most
     */
    constructor(settings, workers) {
      this.large = 0;
      this.running = false;
      this.until = Infinity; // steps at which all stop
      this.ended = false;
      /** @type {(state: State) => void} */
      this.show = () => {};
      /** @type {(words: string) => void} */
      this.complain = () => {};
      /** @type {News[]} the last news of each worker */
      this.news = [];
      this.awaited = 0; // workers that have not answered yet
      this.fresh = true; // something may have changed since the last frame
      this.speed = { from: 0, at: performance.now(), rate: 0 };
      const numbers = Array.from({ length: settings.seeds }, (_, i) => i);
      const count = Math.min(workers, settings.seeds);
      /** @type {Hand[]} */
      this.hands = Array.from({ length: count }, (_, w) => this.hire(w));
      this.hands.forEach((hand, w) =>
        hand.send({ order: "start", settings, numbers: numbers.filter((i) => i % count === w) }));
      this.look();
    }

    /** @param {number} w @returns {Hand} */
    hire(w) {
      /** @type {any[]} what was sent before the first answer: a browser may refuse a worker after it was made */
      let early = [];
      /** @type {Hand} */
      let hand;
      const here = () => {
        hand = onPage((message) => this.hear(w, message));
        early.forEach(hand.send);
      };
      try {
        hand = worker((message) => {
          early = [];
          this.hear(w, message);
        }, (words) => (this.news[w] ? this.complain(words) : here()));
      } catch {
        here();
      }
      return { send: (message) => { if (!this.news[w]) early.push(message); hand.send(message); }, end: () => hand.end() };
    }

    /** Ask all for news, at each picture that the browser draws. @returns {void} */
    look() {
      if (this.ended) return;
      requestAnimationFrame(() => this.look());
      if (this.awaited || !this.fresh) return;
      this.fresh = false;
      this.awaited = this.hands.length;
      const steps = this.steps();
      const message = { order: "frame", large: this.large, slowest: Math.min(...steps), furthest: Math.max(...steps) };
      this.hands.forEach((hand) => hand.send(message));
    }

    /** The steps that each game has taken, as far as is known. @returns {number[]} */
    steps() {
      return [0, ...this.news.flatMap((news) => news?.steps ?? [])].slice(this.news.length ? 1 : 0);
    }

    /** @param {number} w @param {any} message @returns {void} */
    hear(w, message) {
      if (this.ended) return;
      if (message.error) {
        this.complain(message.error);
        return;
      }
      this.news[w] = { ...message, members: message.members ?? this.news[w].members };
      this.awaited -= 1;
      if (this.awaited) return;
      if (Math.min(...this.steps()) >= this.until) this.running = false;
      const uneven = Math.min(...this.steps()) < Math.max(...this.steps());
      this.fresh ||= this.running || uneven || this.news.some((news) => news.busy);
      this.show(this.state());
    }

    /** What the page shows. @returns {State} */
    state() {
      const step = Math.min(...this.steps());
      const now = performance.now();
      if (now - this.speed.at > 1000) {
        this.speed = { from: step, at: now, rate: (1000 * (step - this.speed.from)) / (now - this.speed.at) };
      }
      const members = this.news.flatMap((news) => news.members).sort((a, b) => a.member - b.member);
      const large = this.news.find((news) => news.large)?.large;
      return { step, running: this.running, rate: this.running ? this.speed.rate : 0, large, members };
    }

    /** @param {any} message */
    tell(message) {
      this.fresh = true;
      this.hands.forEach((hand) => hand.send(message));
    }

    /**
     * Go on until told otherwise, or until all have taken so many steps.
     * @param {number} [until]
     * @returns {void}
     */
    play(until = Infinity) {
      this.running = Math.min(...this.steps()) < until;
      this.until = until;
      this.speed = { from: Math.min(...this.steps()), at: performance.now(), rate: 0 };
      if (this.running) this.tell({ order: "play", until });
    }

    /** Stop when all have taken equally many steps. @returns {void} */
    pause() {
      this.running = false;
      this.tell({ order: "pause" });
    }

    /** Take n steps. @param {number} n @returns {void} */
    step(n) {
      this.running = false;
      this.tell({ order: "step", to: Math.max(...this.steps()) + n });
    }

    /** Take at most so many steps a second. @param {number} most @returns {void} */
    pace(most) {
      this.tell({ order: "pace", most });
    }

    /** Choose which game is shown large. @param {number} member @returns {void} */
    ask(member) {
      this.large = member;
      this.fresh = true;
    }

    /** Call a function with each new state. @param {(state: State) => void} show @returns {void} */
    onframe(show) {
      this.show = show;
      this.fresh = true;
    }

    /** Call a function with words when something fails. @param {(words: string) => void} complain @returns {void} */
    onerror(complain) {
      this.complain = complain;
    }

    /** End all. @returns {void} */
    stop() {
      this.ended = true;
      this.hands.forEach((hand) => hand.end());
    }
  }

  /**
   * Start the games of some settings.
   * @param {Settings} settings
   * @param {{workers?: number}} [options]
   * @returns {Crew}
   */
  const start = (settings, { workers = 2 } = {}) => new Crew(settings, workers);

  return { start };
});
