// The animations of the chapters play once, for less than five seconds, and stop at the finished picture. Each gets
// a button that plays it again. Readers who ask for less motion see the finished picture until they press it.
document.addEventListener("DOMContentLoaded", () => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const image of document.querySelectorAll(".tag_animation .cell_output img")) {
    const moving = image.getAttribute("src");
    let plays = 0;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "animation-play";
    button.textContent = calm ? "Play" : "Play again";
    button.addEventListener("click", () => {
      plays += 1;
      image.src = `${moving}?${plays}`; // a new address, or the browser shows its last frame
      button.textContent = "Play again";
    });
    (image.closest("a") ?? image).after(button);
    if (calm && location.protocol !== "file:") standStill(image, moving); // a page in a file may read no other
  }
});

// Shows the PNG without its animation: what is left is its default image, which is the finished picture.
async function standStill(image, address) {
  image.style.visibility = "hidden";
  try {
    const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
    const parts = [bytes.subarray(0, 8)];
    for (let at = 8, size; at < bytes.length; at += size) {
      size = new DataView(bytes.buffer).getUint32(at) + 12; // of the chunk: length, name, data, checksum
      const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      if (!["acTL", "fcTL", "fdAT"].includes(name)) parts.push(bytes.subarray(at, at + size));
    }
    image.src = URL.createObjectURL(new Blob(parts, { type: "image/png" }));
  } finally {
    image.style.visibility = "";
  }
}
