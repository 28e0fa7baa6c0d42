"use strict";
for (const box of document.querySelectorAll(".filter input")) {
  const rows = [...document.getElementById(box.dataset.table).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = box.parentElement.querySelector("output");
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, number) => {
      row.hidden = !words.every((word) => texts[number].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    count.textContent = `${shown} of ${rows.length}`;
  });
}
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
for (const figure of document.querySelectorAll(".moving")) {
  const image = figure.querySelector("img");
  const button = figure.querySelector("button");
  const moving = image.src;
  let plays = !still;
  const show = () => { button.textContent = plays ? "pause" : "play"; };
  show();
  button.hidden = false;
  button.addEventListener("click", () => {
    figure.querySelector("source")?.remove();
    plays = !plays;
    image.src = plays ? moving : image.dataset.still;
    show();
  });
}
