/* From the page to code: the same game as a program for gan_helpers, and as a notebook. */
Playground.define("recipe", ["data", "meters"], (data, meters) => {
  "use strict";

  const GAMES = { // by loss: what D descends and what G descends
    minimax: ["minimax_d", "minimax_g"], non_saturating: ["minimax_d", "non_saturating_g"],
    least_squares: ["least_squares_d", "least_squares_g"], hinge: ["hinge_d", "wasserstein_g"],
    wasserstein: ["wasserstein_d", "wasserstein_g"], relativistic: ["relativistic_d", "relativistic_g"],
  };
  const ACTIVATIONS = { relu: "nn.ReLU", leaky_relu: "lambda: nn.LeakyReLU(0.2)", tanh: "nn.Tanh" };

  /** A number, which Python writes as we do. @param {number} v */
  const number = (v) => String(v);
  /** Steps with their thousands apart. @param {number} v */
  const whole = (v) => String(v).replace(/\B(?=(\d{3})+$)/g, "_");
  /** @param {string[]} names */
  const sorted = (names) => [...new Set(names)].filter(Boolean).sort();

  /** The data of some settings: what is imported, and how it is made. @param {Settings} settings */
  function source({ data: name, features, strokes }) {
    const plain = {
      ring: ["ring", "data = ring(sd=0.05)"],
      grid: ["grid", "data = grid(spacing=0.7, sd=0.05)"],
      tilted: ["Gaussian", "A = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])\ndata = Gaussian.from_transform(A, torch.tensor([1.0, 2.0]))"],
      bell: features === 1
        ? ["Normal", "data = Normal(4.0, 1.25)"]
        : ["Gaussian", "data = Gaussian(torch.tensor([2.0, 1.0]), torch.eye(2))"],
      strokes: ["GaussianMixture", `points = [\n${lines(strokes)}]\ndata = GaussianMixture(torch.tensor(points), sd=${data.STROKE})`],
    }[name];
    if (plain) return { name: plain[0], code: plain[1] };
    return { name: "", code: `def data(seeds, batch, rng):
    """Two moons: the halves of two circles, with some noise."""
    angle = rng.uniform(seeds, batch, high=torch.pi)
    side = 1 - 2.0 * rng.integers(2, seeds, batch)
    x, y = side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)
    return torch.stack([x, y], 2) + ${data.MOON} * rng.normal(seeds, batch, 2)` };
  }

  /** The reader's points, some to a line. @param {number[][]} points */
  function lines(points) {
    const rows = [];
    for (let i = 0; i < points.length; i += 5) {
      rows.push(`    ${points.slice(i, i + 5).map((p) => `[${p.map((v) => v.toFixed(3)).join(", ")}],`).join(" ")}\n`);
    }
    return rows.join("");
  }

  /** D's loss, with its penalties. @param {Settings} settings */
  function lossOfD({ loss, r1, r2, gp }) {
    const name = GAMES[loss][0];
    if (!r1 && !r2 && !gp) return `    return ${name}(*D(x, G(z).detach()))`;
    const added = [
      r1 ? `    loss = loss + ${number(r1)} / 2 * r1(D, x)` : "",
      r2 ? `    loss = loss + ${number(r2)} / 2 * r2(D, fake)` : "",
      gp ? `    loss = loss + ${number(gp)} * gradient_penalty(D, x, fake, mixing)` : "",
    ];
    return [`    fake = G(z).detach()`, `    loss = ${name}(*D(x, fake))`, ...added.filter(Boolean), "    return loss"].join("\n");
  }

  /** How the fakes are judged: imports from modules of the package, and the lines. @param {Settings} settings */
  function judged(settings) {
    const { key, most } = meters.rule(settings);
    const law = data.of(settings);
    const draw = `fakes = made(noise(SEEDS, ${meters.needed(settings)}, Stream("fakes", SEED))).detach().nan_to_num(0.0, 0.0, 0.0)`;
    if (key === "modes") {
      return { metrics: "", modes: "count_modes", code: `${draw}
found = count_modes(fakes, data)
fair = found.each * ${law.modes.length} / ${meters.needed(settings)}  # 1 where a heap has its fair share of all samples
good = (fair >= ${meters.FAIR}).all(1) & ~failed
print(f"{int(good.sum())} of {SEEDS} find all ${law.modes.length} heaps, each with half of its fair share or more")` };
    }
    const distance = law.features === 1
      ? "metrics.w1(fakes.squeeze(2), data)"
      : 'metrics.sliced_w1(fakes, data(1, 10_000, Stream("real", SEED))[0])';
    return { metrics: "metrics", modes: "", code: `${draw}
distance = ${distance}
good = (distance < ${most.toFixed(3)}) & ~failed
print(f"{int(good.sum())} of {SEEDS} have a ${key === "w1" ? "W1" : "sliced W1"} below ${most.toFixed(3)}")` };
  }

  /** A picture of all. @param {Settings} settings */
  function picture({ features }) {
    const one = features === 1
      ? `    ax.hist(real[:, 0], 40, histtype="step", **plots.REAL)
    ax.hist(fakes[k, :, 0], 40, histtype="step", **plots.FAKE)`
      : `    ax.plot(*real.T, ".", markersize=1, color=plots.REAL["color"])
    ax.plot(*fakes[k, :500].T, "^", markersize=2, color=plots.FAKE["color"])`;
    return `real = data(1, 500, Stream("shown", SEED))[0]
fig, axes = plt.subplots(4, 4, figsize=(7, 7), sharex=True, sharey=True)
for k, ax in enumerate(axes.flat[:SEEDS]):
${one}
plt.show()`;
  }

  /** The smallest game. @param {Settings} settings @param {number} steps @returns {string[]} */
  function smallest({ loss, r1, r2, gRate, dRate, beta1, turns, seed, seeds }, steps) {
    const options = [
      loss === "non_saturating" ? "non_saturating=True" : "",
      r1 + r2 ? `gamma=${number(r1 + r2)}` : "",
      turns === "alternating" ? "alternating=True" : "",
      beta1 ? `momentum=${number(beta1)}` : "",
      dRate !== gRate ? `d_speed=${number(dRate / gRate)}` : "",
    ].filter(Boolean);
    return [`import torch
from matplotlib import pyplot as plt

from gan_helpers import Stream, dirac

SEEDS, SEED, STEPS = ${seeds}, ${seed}, ${whole(steps)}`,
`angle = Stream("starts", SEED).uniform(SEEDS, high=2 * torch.pi).double()
path = dirac.play(
    angle.cos(), angle.sin(), ${[`${number(gRate)}`, "STEPS", ...options].join(", ")}
)
good = path[-1].norm(dim=0) < 0.1
print(f"{int(good.sum())} of {SEEDS} come home")`,
`fig, ax = plt.subplots(figsize=(5, 5))
ax.plot(path[:, 0], path[:, 1], linewidth=1)
ax.plot(0, 0, "o")
ax.set(xlabel="where the fakes are", ylabel="how D slopes", aspect="equal")
plt.show()`];
  }

  /**
   * Return the program in parts: imports, the game, the training and the verdict, a picture.
   * @param {Settings} settings
   * @param {number} steps
   * @returns {string[]}
   */
  function parts(settings, steps) {
    if (settings.data === "dirac") return smallest(settings, steps);
    const { features, loss, r1, r2, gp, width, layers, activation, noise, seed, seeds, batch } = settings;
    const real = source(settings);
    const judge = judged(settings);
    const drawn = noise === "uniform" ? "Uniform" : "StandardNormal";
    const from = (module, names) => (names.length ? `from gan_helpers.${module} import ${names.join(", ")}\n` : "");
    const turns = [
      settings.dSteps > 1 ? `d_steps=${settings.dSteps}` : "",
      settings.turns === "simultaneous" ? "simultaneous=True" : "",
    ].filter(Boolean).join(", ");
    const top = sorted(["Ensemble", "NonFiniteLossError", "Stream", "adam", judge.metrics, "plots", "train", turns && "Turns"]);
    const penalties = sorted([r1 && "r1", r2 && "r2", gp && "gradient_penalty"]);
    const imports = `import torch
from matplotlib import pyplot as plt
from torch import nn

from gan_helpers import ${top.join(", ")}
${from("data", sorted([real.name, drawn]))}${from("losses", sorted(GAMES[loss]))}${from("mode_metrics", sorted([judge.modes]))}${from("models", ["mlp"])}${from("penalties", penalties)}
SEEDS, SEED, STEPS = ${seeds}, ${seed}, ${whole(steps)}`;

    const sizes = (/** @type {number} */ out) => [features, ...new Array(layers).fill(width), out].join(", ");
    const network = (/** @type {string} */ name, /** @type {number} */ out) => `${name} = Ensemble(
    lambda: mlp(${sizes(out)}, activation=${ACTIVATIONS[activation]}),
    SEEDS,
    name="${name}",
    seed=SEED,
    device="cpu",
)`;
    const ofG = loss === "relativistic" ? `${GAMES[loss][1]}(*D(x, G(z)))` : `${GAMES[loss][1]}(D(G(z)))`;
    const game = `${real.code}${real.code.startsWith("def") ? "\n\n" : ""}
noise = ${drawn === "Uniform" ? `Uniform(0.0, 1.0, ${features})` : `StandardNormal(${features})`}
${network("G", features)}
${network("D", 1)}
${gp ? 'mixing = Stream("mixing", SEED)\n' : ""}

def d_loss(G, D, x, z):
${lossOfD(settings)}


def g_loss(G, D, x, z):
    return ${ofG}`;

    const betas = `(${number(settings.beta1)}, ${number(settings.beta2)})`;
    const training = `try:
    history = train(
        G, D, data, noise,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=adam(D, ${number(settings.dRate)}, ${betas}),
        g_opt=adam(G, ${number(settings.gRate)}, ${betas}),
        steps=STEPS,
        batch=${batch},
${turns ? `        turns=Turns(${turns}),\n` : ""}${settings.ema ? `        ema=${number(settings.ema)},\n` : ""}        seed=SEED,
        on_nonfinite="go on",
    )
    made, failed = history.averaged or G, history.failed
except NonFiniteLossError:  # no seed is left
    made, failed = G, torch.ones(SEEDS, dtype=torch.bool)
${judge.code}`;
    return [imports, game, training, picture(settings)];
  }

  /**
   * Return the program as one text.
   * @param {Settings} settings
   * @param {number} steps
   * @returns {string}
   */
  const python = (settings, steps) => {
    const text = parts(settings, steps).reduce((all, part) => `${all}${/\n    return .*$/.test(all) ? "\n\n\n" : "\n\n"}${part}`);
    return `${text}\n`;
  };

  /**
   * Return the program as a notebook.
   * @param {Settings} settings
   * @param {number} steps
   * @param {string} link back to the page
   * @returns {string} the content of an .ipynb file
   */
  function notebook(settings, steps, link) {
    const source = (/** @type {string} */ text) => text.split(/(?<=\n)/);
    const [folder, end] = link.split("#");
    const from = folder.startsWith("http") ? `[this page](${link})` : `the book’s page “The playground”, with \`#${end}\` behind its address`;
    const words = `# Sixteen GANs, from the playground

The settings are those of ${from}. The numbers that chance decides are others: the package draws its own, so compare how
many of the runs succeed, and not one run with one.

\`gan_helpers\` has to be installed where this runs: \`pip install .\` in a copy of the book’s folder.`;
    const cells = [
      { cell_type: "markdown", id: "words", metadata: {}, source: source(words) },
      ...parts(settings, steps).map((text, i) => (
        { cell_type: "code", id: `part-${i}`, metadata: {}, execution_count: null, outputs: [], source: source(text) })),
    ];
    const metadata = { kernelspec: { display_name: "Python 3", language: "python", name: "python3" }, language_info: { name: "python" } };
    return JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }, null, 1);
  }

  return { parts, python, notebook };
});
