// A row, or a box in the smear, shows its details.
const choose = (event) => {
  const chosen = event.target.closest("[data-item]");
  if (!chosen || (event.type === "keydown" && (chosen.tagName === "BUTTON" || !["Enter", " "].includes(event.key)))) return;
  event.preventDefault();
  trigger("choose", {item: Number(chosen.dataset.item)});
};
element.addEventListener("click", choose);
element.addEventListener("keydown", choose);
