"""The algorithm of the daemon that this one replaces, as far as its speed goes: poll, read, claim, run, poll again."""

import json
import os
import subprocess
import sys
import time

root, program = sys.argv[1:3]
queue = os.path.join(root, "queue.json")
while True:
    try:
        with open(queue) as file:
            data = json.load(file)
    except ValueError:
        data = {"tasks": []}
    done = {task["id"] for task in data["tasks"] if task["status"] == "done"}
    ready = [
        task
        for task in data["tasks"]
        if task["status"] == "ready" and not task.get("lease") and all(d in done for d in task.get("dependencies", []))
    ]
    for task in sorted(ready, key=lambda task: task.get("priority", 100))[:1]:
        lease = os.path.join(root, task["id"] + ".lease")
        try:
            os.close(os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        with open(lease, "w") as file:
            json.dump({"task_id": task["id"], "started_at": time.time()}, file)
        task["status"] = "in_progress"
        with open(queue, "w") as file:
            json.dump(data, file, indent=2)
        subprocess.run([program, "--stamp", os.path.join(root, task["id"] + ".stamp")], check=False)
    time.sleep(1)
