#!/usr/bin/env bash
# Draws docs/demo.svg from a real run of `agentctl demo` in a terminal: what `make picture` does. Needs script(1) and
# python3, and no network.
set -euo pipefail
cd "$(dirname "$0")/.."
agentctl=${AGENTCTL:-target/debug/agentctl}
out=${1:-docs/demo.svg}
[ -x "$agentctl" ] || { echo "build it first: cargo build --bins" >&2; exit 1; }

seen=$(mktemp)
trap 'rm -f "$seen"' EXIT
TERM=xterm-256color LANG=C.UTF-8 \
    script -qefc "stty cols 104 rows 40; exec '$agentctl' demo" "$seen" </dev/null >/dev/null

python3 - "$seen" "$out" <<'PY'
import html, re, sys, unicodedata

COLOURS = {30: "#484f58", 31: "#ff7b72", 32: "#3fb950", 33: "#d29922", 34: "#58a6ff", 35: "#bc8cff", 36: "#39c5cf",
           37: "#c9d1d9", 90: "#8b949e", 91: "#ffa198", 92: "#56d364", 93: "#e3b341", 94: "#79c0ff", 95: "#d2a8ff",
           96: "#56d4dd", 97: "#f0f6fc"}
WIDE, HIGH, LEFT, TOP = 8.4, 18, 16, 50


# As in a terminal, what is set in one line holds in the next.
colour, bold, faint = None, False, False


def pieces(line):
    """Splits a line where its colours change: (text, colour, bold, faint)."""
    global colour, bold, faint
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        codes = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if not codes:
            if part:
                yield part, colour, bold, faint
            continue
        for code in (int(code or 0) for code in codes[1].split(";")):
            if code == 0:
                colour, bold, faint = None, False, False
            elif code == 1:
                bold = True
            elif code == 2:
                faint = True
            elif code == 22:
                bold = faint = False
            elif code == 39:
                colour = None
            elif code in COLOURS:
                colour = COLOURS[code]


text = open(sys.argv[1], encoding="utf-8", errors="replace").read()
text = re.sub(r"^Script (started|done).*\n?", "", text, flags=re.M).replace("\r", "")
text = re.sub(r"\x1b\](.|\n)*?(\x07|\x1b\\)|\x1b\[[0-9;?]*[A-Zac-ln-z]", "", text)
lines = text.strip("\n").split("\n")
plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
end = next(n for n, line in enumerate(plain) if line.startswith("What happened"))
last = next((n for n, line in enumerate(plain) if n > end and not line.strip()), len(plain))
# The beginning until the first merge, then the end: the middle is more of the same.
merged = next((n for n, line in enumerate(plain) if "D1" in line and "→ done" in line), 44)
lines = lines[: merged + 2] + ["          ⋮", ""] + lines[end:last]

width = 2 * LEFT + WIDE * 104
height = TOP + HIGH * len(lines) + 14
svg = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
    ' font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="14">',
    "<title>A run of agentctl demo</title>",
    f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
    *(f'<circle cx="{20 + 20 * n}" cy="20" r="6" fill="{fill}"/>' for n, fill in enumerate(["#ff5f56", "#ffbd2e", "#27c93f"])),
    f'<text x="{width / 2:.0f}" y="25" fill="#8b949e" text-anchor="middle">$ agentctl demo</text>',
]
for n, line in enumerate(lines):
    column, spans = 0, []
    for piece, hue, is_bold, is_faint in pieces(line):
        fill = hue or ("#8b949e" if is_faint else "#c9d1d9")
        style = ' font-weight="bold"' if is_bold else ""
        x = LEFT + WIDE * column
        spans.append(f'<tspan x="{x:.1f}" fill="{fill}"{style}>{html.escape(piece, quote=False)}</tspan>')
        column += sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in piece)
    if spans:
        svg.append(f'<text y="{TOP + HIGH * n + 4}" xml:space="preserve">{"".join(spans)}</text>')
svg.append("</svg>")
open(sys.argv[2], "w", encoding="utf-8").write("\n".join(svg) + "\n")
PY
ls -l "$out"
