// Only an action of Node's kind may run something after its job; what it does is in caches.py.
const { spawnSync } = require("child_process");
const verb = "STATE_key" in process.env ? "after" : "restore";
const { STAND_IN_PYTHON, STAND_IN_SOURCE } = process.env;
const env = { ...process.env, PYTHONPATH: STAND_IN_SOURCE };
const done = spawnSync(STAND_IN_PYTHON, ["-P", "-m", "rehearsal.actions.caches", verb], { env, stdio: "inherit" });
process.exitCode = done.status ?? 1;
