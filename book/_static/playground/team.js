/* The games of one worker: they take turns, are measured now and then, and tell what they look like. */
Playground.define("team", ["game", "meters"], (games, meters) => {
  "use strict";

  const SLICE = 12; // milliseconds of work before messages are read
  const SELDOM = 100; // milliseconds from one set of small pictures to the next
  const AHEAD = 32; // steps that a worker may be ahead of the slowest one
  const SMALL = 200; // samples of a small picture
  const LARGE = 1000; // and of the large one
  const PUSHED = 60; // samples that get an arrow
  const SURFACE = 40; // points in a row, of the answers of D
  const LINE = 120; // and on the line
  const WARP = 15; // points in a row, of the noise
  const PATH = 2000; // points of the path of two weights, at most

  /** One game, and what is known of it. */
  class Member {
    /** @param {Settings} settings @param {number} member @param {Rule} rule */
    constructor(settings, member, rule) {
      this.game = games.create(settings, member);
      this.rule = rule;
      this.curve = { at: /** @type {number[]} */ ([]), values: /** @type {number[]} */ ([]) };
      this.path = /** @type {number[]} */ ([]);
      this.every = 1; // steps from one point of the path to the next
      this.failed = false;
      /** @type {Meters} */
      this.meters = {};
      this.measure();
    }

    /** Take one step. @returns {void} */
    step() {
      if (!this.failed) this.game.step(1);
      else this.game.players.steps += 1; // it stands still, and the others go on
      if (this.game.dirac && this.game.steps % this.every === 0) this.trace();
      const { at } = this.curve;
      const last = at[at.length - 1];
      if (this.game.steps - last >= Math.max(20, last / 50)) this.measure();
    }

    /** Add a point to the path of the two weights. @returns {void} */
    trace() {
      this.path.push(this.game.G.weights[0], this.game.D.weights[0]);
      if (this.path.length <= 2 * PATH) return;
      this.path = this.path.filter((_, i) => i % 4 < 2);
      this.every *= 2;
    }

    /** Measure the game as it is. @returns {void} */
    measure() {
      if (this.curve.at.at(-1) === this.game.steps) return;
      this.failed ||= this.game.failed();
      if (!this.failed) this.meters = this.game.meters();
      this.curve.at.push(this.game.steps);
      this.curve.values.push(this.value());
      if (this.game.steps === 0 && this.game.dirac) this.trace();
    }

    /** What the game is judged by. @returns {number} */
    value() {
      return this.failed ? NaN : this.meters[this.rule.key];
    }

    /** The small picture. @returns {Small} */
    small() {
      const { at, values } = this.curve;
      return {
        member: this.game.member, step: this.game.steps, samples: this.game.samples(SMALL),
        meters: this.meters, value: this.value(), good: !this.failed && this.rule.good(this.meters),
        failed: this.failed, curve: { at: [...at], values: [...values] },
        ...(this.game.dirac ? { path: Float32Array.from(this.path) } : {}),
      };
    }

    /** The large picture. @returns {Large} */
    large() {
      const { game } = this;
      const { features, view } = game.law;
      const samples = game.samples(LARGE);
      const points = samples.slice(0, PUSHED * features);
      const side = features === 1 ? 4 * WARP : WARP;
      const rows = (/** @type {number} */ n) => (features === 1 ? 1 : n);
      return {
        member: game.member, step: game.steps, losses: game.losses(), samples,
        meters: this.failed ? {} : this.meters,
        surface: { ...grid(view, features), values: game.surface(grid(view, features).points) },
        arrows: { points, vectors: game.arrows(points) },
        warp: { columns: side, rows: rows(side), points: game.warp(game.lattice(side)) },
      };
    }
  }

  /**
   * The points at which D is asked: the middles of cells that fill the window, row by row from the lowest y.
   * @param {number[]} view
   * @param {number} features
   */
  function grid(view, features) {
    const [columns, rows] = features === 1 ? [LINE, 1] : [SURFACE, SURFACE];
    const [x0, x1, y0, y1] = view;
    const points = new Float32Array(columns * rows * features);
    for (let i = 0; i < columns * rows; i++) {
      points[i * features] = x0 + ((x1 - x0) * ((i % columns) + 0.5)) / columns;
      if (features === 2) points[i * 2 + 1] = y0 + ((y1 - y0) * (Math.floor(i / columns) + 0.5)) / rows;
    }
    return { columns, rows, view, points };
  }

  /**
   * Return what does as it is told by messages, in a worker or on the page.
   * @param {(message: any) => void} reply
   * @param {(then: () => void) => void} soon calls a function when messages have been read
   * @returns {(message: any) => void}
   */
  function host(reply, soon) {
    /** @type {Member[]} */
    let members = [];
    let goal = 0; // steps that all are to reach
    let running = false; // towards the goal at a pace, and not at once
    let busy = false;
    let slowest = 0; // steps of the slowest member anywhere
    let pace = Infinity;
    let paced = { from: 0, at: 0 }; // where and when this pace began
    let drawn = -Infinity; // when the small pictures were made

    const first = () => members.reduce((least, m) => (m.game.steps < least.game.steps ? m : least));
    const most = () => Math.max(...members.map((m) => m.game.steps));
    const wait = () => ({ from: first().game.steps, at: performance.now() });

    /** How many steps may have been taken by now. @returns {number} */
    function allowed() {
      if (!running) return goal;
      const inTime = paced.from + (pace * (performance.now() - paced.at)) / 1000;
      return Math.min(pace === Infinity ? goal : inTime, goal, slowest + AHEAD);
    }

    /** Take steps for a while, and go on soon if there is more to do. @returns {void} */
    function work() {
      const until = performance.now() + SLICE;
      const limit = allowed();
      while (performance.now() < until) {
        const next = first();
        if (next.game.steps + 1 > limit) break;
        next.step();
      }
      busy = first().game.steps < goal;
      if (busy) soon(work);
    }

    /** Begin to work, if nobody does. @returns {void} */
    function wake() {
      if (!busy && members.length) {
        busy = true;
        soon(work);
      }
    }

    /** @type {Record<string, (message: any) => void>} */
    const orders = {
      start({ settings, numbers }) {
        const rule = meters.rule(settings);
        members = numbers.map((/** @type {number} */ number) => new Member(settings, number, rule));
      },
      play({ until }) {
        running = true;
        goal = until;
        paced = wait();
        wake();
      },
      pause() {
        running = false;
        goal = most(); // all end at the same step
        wake();
      },
      step({ to }) {
        running = false;
        goal = Math.max(to, most());
        wake();
      },
      pace({ most: rate }) {
        pace = rate;
        paced = wait();
      },
      frame({ large, slowest: known, furthest }) {
        slowest = known;
        if (!running && furthest > goal) {
          goal = furthest;
          wake();
        }
        const one = members.find((m) => m.game.member === large);
        if (!busy) members.forEach((m) => m.measure());
        const due = !busy || performance.now() - drawn > SELDOM;
        if (due) drawn = performance.now();
        reply({
          steps: members.map((m) => m.game.steps), busy, members: due ? members.map((m) => m.small()) : null,
          large: one ? one.large() : null,
        });
      },
    };
    return (message) => {
      try {
        orders[message.order](message);
      } catch (error) {
        reply({ error: String(/** @type {any} */ (error).message ?? error) });
      }
    };
  }

  return { Member, host };
});
