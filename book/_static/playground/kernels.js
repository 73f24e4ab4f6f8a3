/* The products that a step of training is made of. Arrays are laid out feature by feature: row f holds feature f
   of all samples of the batch, in `columns` numbers, a multiple of four. */
Playground.define("kernels", ["assembly"], (assembly) => {
  "use strict";

  /** Columns come in packs of as many as a SIMD register holds twice. @type {(n: number) => number} */
  const padded = (n) => Math.ceil(n / 8) * 8;

  /** Products in plain JavaScript. @returns {Kernels} */
  function plain() {
    /** @type {Kernels["mix"]} */
    function mix(out, rows, w, down, along, bias, x, inner, columns) {
      for (let o = 0; o < rows; o++) {
        const to = o * columns;
        out.fill(bias ? bias[o] : 0, to, to + columns);
        let i = 0;
        for (; i + 3 < inner; i += 4) {
          const at = o * down + i * along;
          const [w0, w1, w2, w3] = [w[at], w[at + along], w[at + 2 * along], w[at + 3 * along]];
          const [x0, x1, x2, x3] = [i * columns, (i + 1) * columns, (i + 2) * columns, (i + 3) * columns];
          for (let c = 0; c < columns; c++) {
            out[to + c] += w0 * x[x0 + c] + w1 * x[x1 + c] + w2 * x[x2 + c] + w3 * x[x3 + c];
          }
        }
        for (; i < inner; i++) {
          const [w0, x0] = [w[o * down + i * along], i * columns];
          for (let c = 0; c < columns; c++) out[to + c] += w0 * x[x0 + c];
        }
      }
    }

    /** @type {Kernels["dots"]} */
    function dots(out, a, rows, b, across, columns) {
      for (let i = 0; i < rows; i++) {
        const ai = i * columns;
        let j = 0;
        for (; j + 3 < across; j += 4) {
          let [s0, s1, s2, s3] = [0, 0, 0, 0];
          const bj = j * columns;
          for (let c = 0; c < columns; c++) {
            const of = a[ai + c];
            s0 += of * b[bj + c];
            s1 += of * b[bj + columns + c];
            s2 += of * b[bj + 2 * columns + c];
            s3 += of * b[bj + 3 * columns + c];
          }
          out[i * across + j] += s0;
          out[i * across + j + 1] += s1;
          out[i * across + j + 2] += s2;
          out[i * across + j + 3] += s3;
        }
        for (; j < across; j++) {
          let sum = 0;
          for (let c = 0; c < columns; c++) sum += a[ai + c] * b[j * columns + c];
          out[i * across + j] += sum;
        }
      }
    }

    return { name: "plain JavaScript", take: (n) => new Float64Array(n), mix, dots };
  }

  /** The code for all games of this thread, made at the first need; null where there is no WebAssembly SIMD. */
  /** @type {WebAssembly.Module|null|undefined} */
  let code;

  /**
   * Products in WebAssembly, or null where the browser has none.
   * @param {number} room numbers that will be taken, at most
   * @returns {Kernels|null}
   */
  function fast(room) {
    if (code === undefined) {
      try {
        code = new WebAssembly.Module(assembly.products());
      } catch {
        code = null;
      }
    }
    if (code === null) return null;
    const memory = new WebAssembly.Memory({ initial: Math.ceil((room * 8 + 64) / 65536) + 1 });
    const { mix, dots } = /** @type {any} */ (new WebAssembly.Instance(code, { js: { memory } }).exports);
    let next = 64; // address 0 stands for no bias
    return {
      name: "WebAssembly SIMD",
      take(n) {
        const made = new Float64Array(memory.buffer, next, n);
        next += Math.ceil(n / 2) * 16;
        return made;
      },
      mix(out, rows, w, down, along, bias, x, inner, columns) {
        const b = bias ? bias.byteOffset : 0;
        mix(out.byteOffset, rows, w.byteOffset, 8 * down, 8 * along, b, x.byteOffset, inner, 8 * columns);
      },
      dots(out, a, rows, b, across, columns) {
        dots(out.byteOffset, a.byteOffset, rows, b.byteOffset, across, 8 * columns);
      },
    };
  }

  /**
   * Build something on the fastest products that there are here. It is built on plain ones first, to see how much
   * memory it takes.
   * @template T
   * @param {(made: Kernels) => T} build
   * @returns {T}
   */
  function make(build) {
    let room = 0;
    const counting = plain();
    const { take } = counting;
    counting.take = (n) => {
      room += n + 1;
      return take(n);
    };
    const built = build(counting);
    const quick = fast(room);
    return quick ? build(quick) : built;
  }

  return { padded, plain, fast, make };
});
