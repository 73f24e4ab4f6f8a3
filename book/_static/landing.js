// The moving picture plays once. Its button plays it again, also for those who were shown the still one.
document.addEventListener("DOMContentLoaded", () => {
  const picture = document.getElementById("landing-picture");
  const button = document.getElementById("landing-replay");
  const image = picture.querySelector("img");
  const still = picture.querySelector("source");
  const moving = image.getAttribute("src");
  let plays = 0;
  if (matchMedia(still.media).matches) button.textContent = "Play";
  button.hidden = false;
  button.addEventListener("click", () => {
    still.remove();
    plays += 1;
    image.src = `${moving}?${plays}`; // a new address, or the browser shows its last frame
    button.textContent = "Replay";
  });
});
