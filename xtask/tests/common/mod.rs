//! A small project in a temporary folder, the binary run in it with nothing but stand-ins on its PATH, and what they
//! were called with.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

const CONFIG: &str = include_str!("xtask.toml");
const DEV: &str = include_str!("dev.toml");
const MANY: &str = include_str!("many.toml");
/// The binary of the package under test: each package has tests for the commands of its own.
const BINARY: &str = match (option_env!("CARGO_BIN_EXE_xtask"), option_env!("CARGO_BIN_EXE_xtask-verify")) {
    (Some(path), _) | (None, Some(path)) => path,
    (None, None) => panic!("cargo names the binary of the package under test"),
};
/// All that the binary may call; a call of anything else fails, as nothing else is on its PATH.
const TOOLS: &[&str] = &[
    "age",
    "sops",
    "docker",
    "minikube",
    "helm",
    "kubectl",
    "dockerd",
    "apt-get",
    "dpkg",
    "dpkg-query",
    "kill",
    "sudo",
    "systemctl",
    "setsid",
    "go",
    "hadolint",
];

/// Calls that change nothing, by their beginnings. What isn't here counts as a change.
const QUESTIONS: &[&str] = &[
    "docker --version",
    "docker context show",
    "docker build --help",
    "docker info ",
    "docker manifest inspect ",
    "docker buildx version",
    "docker buildx inspect ",
    "docker buildx imagetools inspect ",
    "docker image ls ",
    "docker image inspect ",
    "docker container inspect ",
    "docker cp ",
    "docker ps ",
    "docker system df ",
    "dpkg-query ",
    "apt-get --simulate ",
    "docker exec todo crictl images ",
    "docker exec todo-m02 crictl images ",
    "docker exec todo-m03 crictl images ",
    "docker exec todo ctr --namespace k8s.io images list",
    "docker exec todo ctr --namespace k8s.io content ls",
    "minikube start --help",
    "minikube version ",
    "helm upgrade --help",
    "helm version ",
    "helm template ",
    "helm history ",
    "helm get manifest ",
    "helm get hooks ",
    "helm get values ",
    "helm list ",
    "helm test ",
    "kubectl version ",
    "kubectl create configmap check --dry-run=client ",
    "kubectl get ",
    "kubectl logs ",
    "kubectl exec --stdin ",
    "kubectl port-forward ",
];

pub struct Project {
    folder: tempfile::TempDir,
    /// The only node port of the cluster, free when the project was made.
    pub node_port: u16,
    env: Vec<(String, String)>,
}

/// How one run of the binary ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// One line for each call of a stand-in, in their order. Folders, ports and tags stand there as words: ROOT, CACHE,
    /// STATE, NODE_PORT, BACKEND_TAG, FRONTEND_TAG, INPUTS.
    pub calls: Vec<String>,
}

fn stand_in() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = package.ancestors().map(|folder| folder.join("tests/common/standin.sh"));
    files.find(|file| file.exists()).expect("the stand-in lies beside this file")
}

impl Project {
    /// A project whose stand-ins know no image, no cluster and no release.
    pub fn new() -> Project {
        let folder = tempfile::tempdir().unwrap();
        let node_port = free_node_port();
        let project = Project { folder, node_port, env: Vec::new() };
        project.write("xtask.toml", &CONFIG.replace("NODE_PORT", &node_port.to_string()));
        project.write("k8s/profiles/dev.toml", DEV);
        project.write("k8s/profiles/many.toml", MANY);
        for recipe in ["node", "builder", "control-plane"] {
            project.write(&format!("k8s/node/{recipe}.Dockerfile"), "");
        }
        project.write("k8s/node/containerd.toml", "");
        project.write("k8s/node/entrypoint", "");
        for service in ["backend", "frontend", "store", "worker"] {
            project.write(&format!("docker/{service}.Dockerfile"), "FROM scratch\n");
            project.write(&format!("services/{service}/main.rs"), &format!("// {service}\n"));
        }
        for chart in ["chart", "charts/single", "charts/database"] {
            project.write(&format!("{chart}/Chart.yaml"), "name: chart\nappVersion: 0.0.0\n");
        }
        project.write("chart/values.yaml", "services: {}\n");
        for values in ["database", "api", "web"] {
            project.write(&format!("k8s/profiles/many.{values}.values.yaml"), &format!("of: {values}\n"));
        }
        for module in ["kube-score", "kubeconform", "pod-security"] {
            project.write(&format!("k8s/node/go/{module}/go.mod"), "module tools\n");
        }
        project.write("k8s/node/hadolint.txt", "");
        // Where the machine keeps its own bundle differs from one to the next.
        project.write("ca.crt", "");
        let logs =
            ["addons", "calls", "environments", "host-images", "node-images", "created", "node-blobs", "received"];
        let states =
            ["rules", "broken", "failing", "held", "slow", "services", "load-balancers", "watched", "statements"];
        for file in logs.iter().chain(&states) {
            project.write(&format!("standin/{file}"), "");
        }
        project.write("standin/node-port", &node_port.to_string());
        project.write("standin/forwarded-port", &serve(0, "ready").to_string());
        fs::create_dir(project.path("bin")).unwrap();
        for tool in TOOLS {
            symlink(stand_in(), project.path("bin").join(tool)).unwrap();
        }
        project
    }

    /// A project that `up` has brought up once.
    pub fn up() -> Project {
        Project::up_with("dev")
    }

    /// A project of which one profile has been brought up once.
    pub fn up_with(profile: &str) -> Project {
        let project = Project::new();
        let run = project.run(&["up", "--profile", profile]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        project
    }

    /// Adds a variable to the environment of later runs, which is otherwise empty but for what points them at the project.
    pub fn env(mut self, name: &str, value: &str) -> Project {
        self.env.push((name.to_string(), value.to_string()));
        self
    }

    /// Lets every call that begins so be answered by a piece of shell, in the folder of the stand-ins' files.
    pub fn answer(&self, beginning: &str, shell: &str) {
        self.before(beginning, &format!("{shell}\nexit"));
    }

    /// Runs a piece of shell in every call that begins so, before it is answered as ever.
    pub fn before(&self, beginning: &str, shell: &str) {
        let rule = format!("case $call in \"{beginning}\"*)\n{shell}\n;; esac\n");
        let rules = self.read("standin/rules");
        self.write("standin/rules", &(rules + &rule));
    }

    /// Replaces a text in one of the project's files; it must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no {from}");
        self.write(file, &text.replace(from, to));
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_while(arguments, |_| {})
    }

    /// Runs the binary, and `meanwhile` beside it with its process ID.
    pub fn run_while(&self, arguments: &[&str], meanwhile: impl FnOnce(Pid)) -> Run {
        let child = self.start(arguments);
        meanwhile(Pid::from_child(&child));
        self.finish(child)
    }

    /// The same with what it prints, of which the returned run has the rest.
    pub fn run_reading(&self, arguments: &[&str], meanwhile: impl FnOnce(Pid, &mut dyn BufRead)) -> Run {
        let mut child = self.start(arguments);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        meanwhile(Pid::from_child(&child), &mut stdout);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        Run { stdout: rest, ..self.finish(child) }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(BINARY);
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn finish(&self, child: Child) -> Run {
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let calls = self.read("standin/calls").lines().map(|call| self.plain(call)).collect();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), calls }
    }

    /// Runs the binary at a terminal of its own, which `meanwhile` types at and reads. Returns the exit code and all that the
    /// terminal showed.
    pub fn run_at_terminal(&self, arguments: &str, meanwhile: impl FnOnce(&mut Terminal)) -> (Option<i32>, String) {
        let mut command = self.command("/usr/bin/script");
        command.env("TERM", "xterm");
        command.args(["--quiet", "--return", "--command", &format!("{BINARY} {arguments}"), "/dev/null"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut output) = (shown.clone(), child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut piece) {
                sink.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        let mut terminal = Terminal { keyboard: child.stdin.take().unwrap(), shown, child };
        meanwhile(&mut terminal);
        let mut code = None;
        assert!(eventually(|| {
            code = terminal.child.try_wait().unwrap();
            code.is_some()
        }));
        reader.join().unwrap();
        (code.unwrap().code(), terminal.shown())
    }

    /// A program in the environment of the project.
    fn command(&self, program: &str) -> Command {
        self.write("standin/calls", "");
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_clear();
        command.env("CARGO_MANIFEST_DIR", self.path("xtask")).env("STANDIN", self.path("standin"));
        command.env("HOME", self.path("home")).env("PATH", self.path("bin")).env("SSL_CERT_FILE", self.path("ca.crt"));
        command.env("XDG_CACHE_HOME", self.path("cache")).env("XDG_STATE_HOME", self.path("state"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Waits until a stand-in has written so many lines into a file; a test that waits in vain fails.
    pub fn wait_for_lines(&self, file: &str, count: usize) -> Vec<String> {
        let file = self.path(file);
        let lines = || fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_string).collect::<Vec<_>>();
        assert!(eventually(|| lines().len() >= count), "{} has too few lines", file.display());
        lines()
    }

    /// The texts of all files under a folder of the project but those that go away meanwhile.
    pub fn texts(&self, folder: &str) -> Vec<String> {
        let text = |file: &PathBuf| Some(String::from_utf8_lossy(&fs::read(file).ok()?).into_owned());
        self.files(folder).iter().filter_map(text).collect()
    }

    /// All files under a folder of the project; what is linked lies elsewhere.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path(folder)];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => open.push(entry.path()),
                    kind if kind.is_file() => found.push(entry.path()),
                    _ => {}
                }
            }
        }
        found
    }

    /// A call with words in place of what differs from run to run.
    fn plain(&self, call: &str) -> String {
        let mut call = call.to_string();
        for (folder, word) in [("cache/todo", "CACHE"), ("state/todo", "STATE"), ("", "ROOT/")] {
            call = call.replace(self.path(folder).to_str().unwrap(), word);
        }
        call = call.replace(self.path("").to_str().unwrap().trim_end_matches('/'), "ROOT");
        call = call.replace(&self.node_port.to_string(), "NODE_PORT");
        for image in self.read("standin/host-images").lines() {
            let (name, tag) = image.split_once(' ').unwrap().0.split_once(':').unwrap();
            call = call.replace(tag, &format!("{}_TAG", name.to_uppercase()));
        }
        // What went into an image, with a digest for each file.
        if let Some((before, rest)) = call.split_once("'todo.inputs={")
            && let Some((_, after)) = rest.split_once("}'")
        {
            call = format!("{before}INPUTS{after}");
        }
        call
    }
}

/// Where a command runs for a person.
pub struct Terminal {
    keyboard: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What runs at a terminal ends with it. It may have ended.
        let _ = self.child.kill();
    }
}

impl Terminal {
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub fn wait_for(&self, text: &str) {
        assert!(eventually(|| self.shown().contains(text)), "{text} is not in\n{}", self.shown());
    }
}

impl Run {
    /// The calls that change something: an image, the cluster, the release, the machine.
    pub fn changes(&self) -> Vec<&str> {
        let change = |call: &&str| !QUESTIONS.iter().any(|known| call.starts_with(known));
        self.calls.iter().map(String::as_str).filter(change).collect()
    }

    /// The calls that begin with one of some texts, in their order.
    pub fn calls_of(&self, beginnings: &[&str]) -> Vec<&str> {
        let wanted = |call: &&str| beginnings.iter().any(|beginning| call.starts_with(beginning));
        self.calls.iter().map(String::as_str).filter(wanted).collect()
    }

    /// The events of one kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let all = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        all.filter(|event| event["event"] == kind).collect()
    }

    #[track_caller]
    pub fn assert_ended(&self, code: i32) {
        let Run { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "calls:\n{}\nstdout:\n{stdout}\nstderr:\n{stderr}", self.calls.join("\n"));
    }

    #[track_caller]
    pub fn assert_says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.stderr.contains(text), "\"{text}\" is not in\n{}", self.stderr);
        }
    }
}

/// Answers every request on 127.0.0.1 with one text for as long as the tests run; port 0 is any free one.
pub fn serve(port: u16, text: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that has gone away is not the server's problem.
            let _ = answer(stream, text);
        }
    });
    port
}

fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?.take(65_536));
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
}

/// Does something with each case, a few at a time: a test of many cases is no longer than others. The failure of one fails
/// the test.
pub fn for_each_case<T: Sync>(cases: &[T], test: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    test(case);
                }
            });
        }
    });
}

/// Whether something holds within a time that is long enough on any machine.
pub fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..400).any(|_| {
        let held = holds();
        if !held {
            std::thread::sleep(Duration::from_millis(50));
        }
        held
    })
}

/// Whether a process still runs; one that has ended and that nobody has asked after does not.
pub fn runs(pid: &str) -> bool {
    let there = Pid::from_raw(pid.parse().unwrap()).is_some_and(|pid| test_kill_process(pid).is_ok());
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    there && !status.rsplit(')').next().unwrap_or_default().starts_with(" Z")
}

/// Node ports lie below the range from which systems choose by themselves. Tests beside each other, in this process or
/// in another, begin their search at different places.
fn free_node_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 27) as u16 * 100;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| 30_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_768);
    ports.by_ref().take(2_768).find(free).unwrap()
}
