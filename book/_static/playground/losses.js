/* The losses of both players, as gan_helpers.losses has them: functions of D's outputs before any sigmoid.
   Each returns the mean over the batch, and writes its slopes in the outputs. */
Playground.define("losses", ["numbers"], (numbers) => {
  "use strict";
  const { softplus, sigmoid } = numbers;

  /**
   * A loss of one output: its value and its slope.
   * @typedef {(a: number) => number} Term
   * @typedef {[Term, Term]} Sloped
   */

  /** @type {Sloped} */ const SAYS_FAKE = [softplus, sigmoid]; // -log(1 - D)
  /** @type {Sloped} */ const SAYS_REAL = [(a) => softplus(-a), (a) => -sigmoid(-a)]; // -log D
  /** @type {Sloped} */ const UP = [(a) => -a, () => -1];
  /** @type {Sloped} */ const DOWN = [(a) => a, () => 1];
  /** @type {(aim: number) => Sloped} */
  const near = (aim) => [(a) => (a - aim) ** 2 / 2, (a) => a - aim];

  /** What D descends on real samples and on fakes, and G on fakes. @type {Record<string, Sloped[]>} */
  const GAMES = {
    minimax: [SAYS_REAL, SAYS_FAKE, [(a) => -softplus(a), (a) => -sigmoid(a)]],
    non_saturating: [SAYS_REAL, SAYS_FAKE, SAYS_REAL],
    least_squares: [near(1), near(0), near(1)],
    hinge: [
      [(a) => Math.max(0, 1 - a), (a) => (a < 1 ? -1 : 0)],
      [(a) => Math.max(0, 1 + a), (a) => (a > -1 ? 1 : 0)],
      UP,
    ],
    wasserstein: [UP, DOWN, UP],
  };

  /**
   * @param {Sloped} loss
   * @param {Float64Array} outputs
   * @param {number} n how many of them are of the batch
   * @param {Float64Array} slopes gets the slopes of the mean
   * @returns {number} the mean
   */
  function mean([value, slope], outputs, n, slopes) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      sum += value(outputs[i]);
      slopes[i] = slope(outputs[i]) / n;
    }
    return sum / n;
  }

  /**
   * The relativistic loss of the player who wants `up` above `down`, pair by pair.
   * @param {Float64Array} up
   * @param {Float64Array} down
   * @param {number} n
   * @param {Float64Array|null} ofUp gets the slopes in `up`
   * @param {Float64Array|null} ofDown gets the slopes in `down`
   * @returns {number}
   */
  function paired(up, down, n, ofUp, ofDown) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const gap = down[i] - up[i];
      sum += softplus(gap);
      const slope = sigmoid(gap) / n;
      if (ofUp) ofUp[i] = -slope;
      if (ofDown) ofDown[i] = slope;
    }
    return sum / n;
  }

  /**
   * What D descends.
   * @param {string} name a game of GAMES, or relativistic
   * @param {Float64Array} real D's outputs on real samples
   * @param {Float64Array} fake D's outputs on fakes
   * @param {number} n how many of each
   * @param {Float64Array} ofReal gets the slopes in `real`
   * @param {Float64Array} ofFake gets the slopes in `fake`
   * @returns {number} the loss
   */
  function ofD(name, real, fake, n, ofReal, ofFake) {
    if (name === "relativistic") return paired(real, fake, n, ofReal, ofFake);
    return mean(GAMES[name][0], real, n, ofReal) + mean(GAMES[name][1], fake, n, ofFake);
  }

  /**
   * What G descends.
   * @param {string} name a game of GAMES, or relativistic
   * @param {Float64Array} real D's outputs on real samples, which the relativistic game alone looks at
   * @param {Float64Array} fake D's outputs on fakes
   * @param {number} n how many
   * @param {Float64Array} ofFake gets the slopes in `fake`
   * @returns {number} the loss
   */
  function ofG(name, real, fake, n, ofFake) {
    if (name === "relativistic") return paired(fake, real, n, ofFake, null);
    return mean(GAMES[name][2], fake, n, ofFake);
  }

  return { ofD, ofG };
});
