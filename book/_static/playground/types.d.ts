/* What the modules of the playground hand to one another. No page loads this file: it is for the type checker and
   for readers. */

/** The modules, by name. */
declare const Playground: {
  define(name: string, needs: string[], make: (...needs: any[]) => object): void;
  require(name: string): any;
  source(names: string[]): string;
};

/** What the reader chooses; one link holds it all. */
interface Settings {
  data: "bell" | "tilted" | "ring" | "grid" | "moons" | "strokes" | "dirac";
  strokes?: number[][]; // points [x, y] of the reader's own
  features: number;
  loss: "minimax" | "non_saturating" | "least_squares" | "hinge" | "wasserstein" | "relativistic";
  r1: number; // times R1 / 2
  r2: number; // times R2 / 2
  gp?: number; // times the gradient penalty
  gRate: number;
  dRate: number;
  beta1: number;
  beta2: number;
  dSteps: number; // updates of D for each of G
  batch: number;
  width: number; // of the hidden layers
  layers: number; // how many are hidden
  activation: "relu" | "leaky_relu" | "tanh";
  ema: number; // the decay of the average of G's weights; 0 for none
  noise: "normal" | "uniform";
  turns?: "alternating" | "simultaneous";
  seed: number;
  seeds: number; // how many games
}

/** Random numbers of one use, which depend on their place alone. */
interface Stream {
  uniform<T extends Float32Array | Float64Array>(out: T, place: number, part?: number): T;
  normal<T extends Float32Array | Float64Array>(out: T, place: number, part?: number): T;
}

/** The products that a step is made of, and the memory that they work on. */
interface Kernels {
  name: string;
  /** Returns room for n numbers, all 0. */
  take(n: number): Float64Array;
  /** out[o] = bias[o] + sum over i of w[o * down + i * along] x[i], for each of `rows` o. */
  mix(out: Float64Array, rows: number, w: Float64Array, down: number, along: number, bias: Float64Array | null,
    x: Float64Array, inner: number, columns: number): void;
  /** out[i, j] += sum over the columns of a[i] b[j], for each of `rows` i and `across` j. */
  dots(out: Float64Array, a: Float64Array, rows: number, b: Float64Array, across: number, columns: number): void;
}

/** What one batch leaves behind on its way through a network; row f of an array is feature f of all samples. */
interface Pass {
  columns: number;
  y: Float64Array[]; // the input, and the output of each layer
  back: Float64Array[]; // the derivative in each of these, of what is descended
  slope: Float64Array[]; // the derivative of the network's one output in each of these
  inner: Float64Array[]; // that in what enters the activation, by layer
  push: Float64Array[]; // the derivatives of the penalty in `slope`
  bent: Float64Array[]; // what the penalty adds to the derivatives of what enters the activation
}

/** A linear map of a network; all are views of the network's numbers. */
interface Layer {
  from: number;
  to: number;
  w: Float64Array;
  b: Float64Array | null;
  dw: Float64Array;
  db: Float64Array | null;
}

/** A perceptron. */
interface Network {
  sizes: number[];
  weights: Float64Array;
  gradient: Float64Array;
  layers: Layer[];
  kernels: Kernels;
  start(stream: Stream): void;
  pass(samples: number, use: "values" | "gradients" | "penalty"): Pass;
  forward(pass: Pass): Float64Array;
  backward(pass: Pass, wanted: { weights?: boolean; input?: boolean; bent?: boolean }): Float64Array;
  slopes(pass: Pass): Float64Array;
  penalise(pass: Pass): void;
}

interface Optimiser {
  step(weights: Float64Array, gradient: Float64Array): void;
}

/** Where batches come from: each call fills the rows of a new one. */
interface Source {
  data(out: Float64Array, columns: number): void;
  noise(out: Float64Array, columns: number): void;
  mix(shares: Float64Array): void; // of real samples in the points of the gradient penalty
}

/** Batches that were made elsewhere, in the order in which they are asked for, one sample after the other. */
interface Feed {
  data: Float32Array[];
  noise: Float32Array[];
  mix?: Float32Array[];
}

/** What decides a step, but for the networks and their optimisers. */
interface Rules {
  loss: string;
  r1: number;
  r2: number;
  gp: number;
  dSteps: number;
  batch: number;
  simultaneous: boolean;
  ema: number;
}

interface Normal2 {
  mean: number[];
  covariance: number[][];
}

/** What generators learn. */
interface Law {
  features: number;
  view: number[]; // [x0, x1, y0, y1] of a window that shows it
  modes: number[][] | null; // the heaps of a mixture
  sd: number; // of a heap, or of the law on the line
  mean: number; // of the law on the line
  fill(out: Float64Array, columns: number, n: number, stream: Stream, place: number): void;
  sample(n: number, stream: Stream, place: number): Float32Array; // one after the other
  points: Float32Array; // 600 samples, always the same
}

/** Measures by name: numbers, and lists of one for each feature. */
type Meters = Record<string, any>;

/** What a run is judged by. */
interface Rule {
  key: string; // the meter
  more: boolean; // is more better?
  most: number | null; // the bound, where less is better
  many: string; // words of several runs that succeed
  floor: number; // what real samples have
  range: number[]; // of a picture of it
  good(meters: Meters): boolean;
}

/** What is known of one game in a small picture. */
interface Small {
  member: number;
  step: number;
  samples: Float32Array;
  meters: Meters;
  value: number;
  good: boolean;
  failed: boolean;
  curve: { at: number[]; values: number[] };
  path?: Float32Array; // of the two weights of the game with one each
}

/** What is known of one game in the large picture. */
interface Large {
  member: number;
  step: number;
  losses: { d: number; g: number };
  samples: Float32Array;
  meters: Meters;
  surface: { columns: number; rows: number; view: number[]; values: Float32Array };
  arrows: { points: Float32Array; vectors: Float32Array };
  warp: { columns: number; rows: number; points: Float32Array };
}

/** The news of one worker. */
interface News {
  steps: number[];
  busy: boolean;
  members: Small[];
  large: Large | null;
}

/** What the page shows. */
interface State {
  step: number;
  running: boolean;
  rate: number; // steps a second of each game
  large?: Large | null;
  members: Small[];
}

/** A story: what to play, what to guess, how long to watch, and the repair. */
interface Tour {
  title: string;
  chapter: string; // the page that it leads to
  of: string; // what that page is called
  settings: Partial<Settings>;
  until: number; // at which step the guess is answered
  layers: string[]; // what is drawn beside the usual
  story: string;
  question: string;
  watch: string;
  repaired: { settings: Partial<Settings>; changes: string; watch: string };
}

/** Colours by what they stand for, as CSS writes them. */
type Palette = Record<"real" | "fake" | "judge" | "ink" | "faint" | "line" | "card", string>;
