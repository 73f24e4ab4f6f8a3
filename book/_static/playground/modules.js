/* Modules without a server: a page opened as a file may load plain scripts and nothing else. Each script
   defines one module by its name and the names of what it needs, and gets their parts as arguments. */
const Playground = (function modules() {
  "use strict";

  const defined = new Map(); // by name: {needs, make}
  const made = new Map(); // by name: what `make` returned

  /**
   * Define a module; it is made when it is first required.
   * @param {string} name
   * @param {string[]} needs names of modules, the arguments of `make` in this order
   * @param {Function} make returns the module; it may use its arguments and the browser's globals, nothing else
   * @returns {void}
   */
  function define(name, needs, make) {
    if (defined.has(name)) throw new Error(`Two modules are called ${name}.`);
    defined.set(name, { needs, make });
  }

  /**
   * Return a module.
   * @param {string} name
   * @returns {any}
   */
  function require(name) {
    const known = defined.get(name);
    if (!known) throw new Error(`There is no module ${name}: is its script on the page?`);
    if (!made.has(name)) made.set(name, known.make(...known.needs.map(require)));
    return made.get(name);
  }

  /**
   * Return a script that defines some modules and all that they need, for a worker.
   * @param {string[]} names
   * @returns {string}
   */
  function source(names) {
    /** @type {Set<string>} */
    const wanted = new Set();
    (function want(/** @type {string[]} */ some) {
      for (const name of some) {
        require(name);
        want(defined.get(name)?.needs ?? []);
        wanted.add(name);
      }
    })(names);
    const text = [`"use strict";\nconst Playground = (${modules})();`];
    for (const name of wanted) {
      const { needs, make } = /** @type {any} */ (defined.get(name));
      text.push(`Playground.define(${JSON.stringify(name)}, ${JSON.stringify(needs)}, ${make});`);
    }
    return text.join("\n");
  }

  return { define, require, source };
})();
