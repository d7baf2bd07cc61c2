// Sends the chosen or dropped files one by one to the memory of the server, then tells it their secret number.
const LARGEST = 300e6;  // bytes; Chromium holds no base64 text of more than 400 MB
const read = (file) => new Promise((resolve) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.split(",")[1] || "");
  reader.onerror = () => resolve("");
  reader.readAsDataURL(file);
});
const entriesOf = async (folder) => {
  const reader = folder.createReader(), found = [];
  for (let some; (some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;) found.push(...some);
  return found.filter((entry) => !entry.name.startsWith("."));
};
const filesOf = async (entry) => {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const below = [];
  for (const each of await entriesOf(entry)) below.push(...await filesOf(each));
  return below;
};
let busy = false;
const send = async (files) => {
  if (busy || !files.length) return;
  busy = true;
  const words = (text, done) => {  // the zone may be drawn anew meanwhile, in another language
    const zone = element.querySelector(".drop");
    element.querySelector(".sending").textContent = (zone.dataset[text] || "").replace("{done}", done).replace("{total}", files.length);
  };
  const number = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
  let kept = true, end = "none";
  try {
    for (let done = 0; kept && done < files.length; done++) {
      words("sending", done + 1);
      if (files[done].size > LARGEST) { end = "large"; continue; }
      kept = await server.receive([number, files[done].name, await read(files[done])]);
    }
    words(kept ? end : "full", 0);
    trigger("sent", {number});
  } finally {
    busy = false;
  }
};
element.addEventListener("change", (event) => { send([...event.target.files]); event.target.value = ""; });
element.addEventListener("dragover", (event) => { event.preventDefault(); element.querySelector(".drop").classList.add("over"); });
element.addEventListener("dragleave", () => element.querySelector(".drop").classList.remove("over"));
element.addEventListener("drop", async (event) => {
  event.preventDefault();
  element.querySelector(".drop").classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const files = [];
  for (const entry of entries) files.push(...await filesOf(entry));
  send(files);
});
