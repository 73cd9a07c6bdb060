//! An agent in a container, by the recipe of docs/sandbox.md.

use std::path::PathBuf;

use super::*;
use crate::{bad_input::once, support::eventually, support::tools::available};

/// A directory that stands in for an image, and what podman is told where the machine is not as it expects.
struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    /// Makes one; none where podman runs nothing.
    fn new() -> Option<Self> {
        if !available(true, &["podman", "runc", "conmon"]) {
            return None;
        }
        let image = Self { dir: tempfile::tempdir().expect("a directory") };
        for name in ["usr", "etc", "proc", "sys", "dev", "tmp", "run", "var", "root"] {
            fs::create_dir_all(image.root().join(name)).expect("made");
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), image.root().join(name)).expect("linked");
        }
        // Without systemd, with the old cgroups, and with what this process may open.
        let settings = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n\
                        [containers]\nnetns = \"host\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n";
        fs::write(image.settings(), settings).expect("written");
        let mut podman = Command::new("podman");
        podman.env("CONTAINERS_CONF", image.settings()).args(["run", "--rm", "-v", "/usr:/usr:ro", "--rootfs"]);
        let output = podman.arg(image.root()).arg("true").output().expect("podman is there");
        if !output.status.success() {
            eprintln!("skipped: podman runs nothing here: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(image)
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn settings(&self) -> PathBuf {
        self.dir.path().join("containers.conf")
    }

    /// The configuration of the recipe with this shell script in the container.
    fn recipe(&self, script: &str) -> String {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sandbox.md")).expect("the page");
        let at = page.find("[agents.mine]\nargv = [\"podman\"").expect("a recipe");
        let (recipe, _) = page[at..].split_once("\n```").expect("an end");
        let inside = format!(
            "\"-v\", \"/usr:/usr:ro\", \"--rootfs\", \"{}\", \"sh\", \"-c\", '''{script}''', \"{{project}}\"]\n\
             set = {{ CONTAINERS_CONF = \"{}\" }}",
            self.root().display(),
            self.settings().display()
        );
        // The user of the tests is root, who has no other to keep.
        let recipe = recipe.replace("\"--userns=keep-id\", ", "");
        assert!(recipe.contains("\"IMAGE\", \"mine\"]"), "{recipe}");
        recipe.replace("\"IMAGE\", \"mine\"]", &inside)
    }
}

#[test]
fn an_agent_in_a_container_commits_to_its_branch_reaches_nothing_else_and_ends_with_its_worker() {
    let Some(image) = Image::new() else { return };
    let mark = 80_000 + std::process::id() % 10_000;
    let tries = format!(
        "set -x; if [ $OODATCAA_TASK_ID = B ]; then setsid sleep {mark} & sleep {mark}; fi\n\
         echo own > own.txt; git add -A; git -c user.name=a -c user.email=a@invalid commit -qm own\n\
         echo x > $0/README.md; ls $0/.oodatcaa/work; echo x > $0/.git/objects/x; cat {0}/.gitconfig\n\
         echo '{{\"outcome\": \"done\", \"summary\": \"from within\"}}' > $OODATCAA_RESULT_FILE",
        std::env::var("HOME").expect("a home")
    );
    let mut project = repository("exit 0", &format!("[roles.builder]\nagent = \"mine\"\n{}", image.recipe(&tries)));
    let _trees = with_trees(&project);
    let task = |id: &str| json!({"id": id, "title": "make it", "type": "Build", "status": "ready"});
    project.queue(json!([task("A")]));
    once(&project, "builder");
    assert_eq!(project.status("A"), "awaiting_test", "{}", project.diagnosis());
    assert_eq!(git(project.root(), &["log", "-1", "--format=%s", "feat/A-make-it"]), "own");
    assert_eq!(fs::read_to_string(project.path("README.md")).expect("there"), "hello\n");
    let said = fs::read_to_string(project.path(".oodatcaa/runs/A/1/stderr.log")).expect("a log");
    for refused in [".oodatcaa/work'", "objects/x: ", ".gitconfig: "] {
        let line = said.lines().find(|line| !line.starts_with('+') && line.contains(refused));
        assert!(
            line.is_some_and(|line| line.contains("No such file") || line.contains("Read-only")),
            "{refused}: {said}"
        );
    }
    // What it started ends with the worker.
    let up = || {
        let wanted = format!("sleep\0{mark}\0");
        let all = fs::read_dir("/proc").expect("listed").flatten();
        all.filter(|one| fs::read(one.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())).count()
    };
    project.queue(json!([task("B")]));
    let worker = project.start_ready("builder", &[]);
    eventually("it is up", || (up() == 2).then_some(()));
    project.signal(worker, rustix::process::Signal::KILL);
    eventually("nothing of it is left", || (up() == 0).then_some(()));
}
