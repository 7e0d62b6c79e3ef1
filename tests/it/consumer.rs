//! `hcc-edge subscribe --consumer-key` and a running box: what was missed is asked for, and results
//! are confirmed when this consumer has them, not before.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Mosquitto;
use crate::control::{lines, listen};
use crate::edge::{Edge, Files, PATIENCE, command, run, wait_until};

/// A consumer's key and memory.
struct ControlRoom {
    folder: TempDir,
}

impl ControlRoom {
    /// Makes a key, and the box trust it; before the box starts.
    fn trusted_by(edge: &Edge) -> Self {
        let room = Self { folder: tempfile::tempdir().unwrap() };
        let key = room.file("consumer.pk8");
        let arguments = ["keys", "--key", key.to_str().unwrap(), "init", "--role", "consumer"];
        let made = command(&arguments).args(["--site", "ward"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let entry = String::from_utf8(made.stdout).unwrap();
        assert!(entry.contains("role = \"consumer\"") && entry.contains("site = \"ward\""));
        let trust = fs::read_to_string(edge.trust()).unwrap();
        fs::write(edge.trust(), format!("{trust}\n{entry}")).unwrap();
        room
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Listens until so many new results came.
    fn subscribe(&self, port: u16, edge: &Edge, count: usize) -> Following {
        let mut child = command(&["subscribe", "--json", "--strict"])
            .args(["--broker", &format!("mqtt://127.0.0.1:{port}")])
            .arg("--trust")
            .arg(edge.trust())
            .arg("--state")
            .arg(self.file("seen.cbor"))
            .arg("--consumer-key")
            .arg(self.file("consumer.pk8"))
            .args(["--count", &count.to_string(), "--timeout", &PATIENCE.as_secs().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said: Arc<Mutex<Vec<Value>>> = Arc::default();
        let reader = read(child.stdout.take().unwrap(), said.clone());
        Following { child, said, reader }
    }
}

fn read(stdout: ChildStdout, said: Arc<Mutex<Vec<Value>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            said.lock().unwrap().push(serde_json::from_str(&line.unwrap()).unwrap());
        }
    })
}

/// A subscriber under way.
struct Following {
    child: Child,
    said: Arc<Mutex<Vec<Value>>>,
    reader: JoinHandle<()>,
}

impl Following {
    fn wait_for(&self, event: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.said.lock().unwrap().iter().any(|line| line["event"] == event) {
            assert!(Instant::now() < deadline, "no {event}");
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// What it said, once it has ended well.
    fn end(mut self) -> Vec<Value> {
        assert!(self.child.wait().unwrap().success());
        self.reader.join().unwrap();
        self.said.lock().unwrap().clone()
    }
}

/// The numbers of the results that were not seen before, ascending.
fn fresh(said: &[Value]) -> Vec<u64> {
    let is_fresh =
        |line: &&Value| ["new", "gap", "filled"].map(Value::from).contains(&line["verdict"]);
    let results = said.iter().filter(is_fresh);
    let mut seqs: Vec<u64> =
        results.map(|line| line["view"]["result"]["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    seqs
}

/// What was asked for first; on a busy machine it may be asked for once more.
fn first_asked(said: &[Value]) -> Option<&Value> {
    said.iter().find(|line| line["event"] == "asked").map(|line| &line["range"])
}

/// A study without images: it gets its signed `failed` within milliseconds.
fn drop_study(edge: &mut Edge, name: &str) {
    let clinical = json!({"schema": 1, "age_years": 40 + name.len()}).to_string();
    let clinical =
        (String::from("clinical.json"), format!("{clinical}\n{}", " ".repeat(name.len())));
    let files: Files = [clinical, (String::from(".done"), String::new())]
        .map(|(name, text)| (name, text.into_bytes()))
        .into();
    edge.drop_study(name, &files);
    edge.wait_for(name);
}

/// The numbers the journal holds as confirmed, ascending.
fn confirmed(edge: &Edge) -> Vec<u64> {
    let journal = edge.journal();
    let confirms = journal.iter().filter(|record| record["type"] == "confirm");
    let mut seqs: Vec<u64> = confirms.map(|record| record["seq"].as_u64().unwrap()).collect();
    // Two acknowledgements in quick succession may both confirm a number.
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

/// So many different results reach another listener, for whom the broker answers "success".
fn overheard(edge: &Edge, file: &Path, count: usize) {
    wait_until(edge, |_| BTreeSet::from_iter(lines(file)).len() == count);
}

#[test]
fn a_consumer_gets_what_it_missed_and_only_then_confirms() {
    let broker = Mosquitto::start();
    let port = broker.port();
    let mut edge = Edge::new(port, "[delivery]\nconfirm = \"consumer\"\n");
    let room = ControlRoom::trusted_by(&edge);
    let heard = room.file("heard");
    let _listener = listen(port, "result", &heard);
    edge.start();
    ["a", "ab", "abc"].iter().for_each(|name| drop_study(&mut edge, name));
    overheard(&edge, &heard, 3);
    assert_eq!(confirmed(&edge), [] as [u64; 0], "the broker has them, no consumer");

    let joining = room.subscribe(port, &edge, 4);
    joining.wait_for("status");
    drop_study(&mut edge, "abcd");
    let said = joining.end();
    assert_eq!(fresh(&said), [1, 2, 3, 4]);
    assert_eq!(first_asked(&said), Some(&json!([1, 3])));
    wait_until(&edge, |edge| confirmed(edge) == [1, 2, 3, 4]);

    ["abcde", "abcdef"].iter().for_each(|name| drop_study(&mut edge, name));
    overheard(&edge, &heard, 6);
    assert_eq!(confirmed(&edge), [1, 2, 3, 4], "nobody of ours listens");
    let back = room.subscribe(port, &edge, 3);
    back.wait_for("status");
    drop_study(&mut edge, "abcdefg");
    let said = back.end();
    assert_eq!((fresh(&said), first_asked(&said)), (vec![5, 6, 7], Some(&json!([5, 6]))));
    wait_until(&edge, |edge| confirmed(edge) == [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn the_device_tells_what_there_is_and_the_consumer_asks_for_it() {
    let broker = Mosquitto::start();
    let port = broker.port();
    let mut edge = Edge::new(port, "");
    let room = ControlRoom::trusted_by(&edge);
    let heard = room.file("heard");
    let _listener = listen(port, "result", &heard);
    edge.start();
    ["a", "ab"].iter().for_each(|name| drop_study(&mut edge, name));
    overheard(&edge, &heard, 2);
    wait_until(&edge, |edge| confirmed(edge) == [1, 2]);
    assert_eq!(edge.terminate(), Some(0));
    edge.start();

    let said = room.subscribe(port, &edge, 2).end();
    assert_eq!((fresh(&said), first_asked(&said)), (vec![1, 2], Some(&json!([1, 2]))));
}

#[test]
fn a_consumers_key_is_shown_and_never_mistaken_for_a_devices() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("consumer.pk8");
    let key = key.to_str().unwrap();
    let consumer = |action: &str| run(&["keys", "--key", key, action, "--role", "consumer"]);
    let made = consumer("init");
    assert_eq!(made.status.code(), Some(0));
    assert_eq!(consumer("export").stdout, made.stdout);
    assert_eq!(consumer("init").status.code(), Some(1), "never overwritten");
    let shown = run(&["keys", "--key", key, "show"]).stdout;
    let (shown, entry) =
        (String::from_utf8(shown).unwrap(), String::from_utf8(made.stdout).unwrap());
    let kid = shown.lines().next().unwrap().strip_prefix("kid ").unwrap();
    assert!(entry.contains(&format!("kid = \"{kid}\"")), "{entry}");
    assert_eq!(run(&["keys", "init", "--role", "consumer"]).status.code(), Some(2));
    assert_eq!(run(&["keys", "--key", key, "init", "--site", "w"]).status.code(), Some(2));
    let state = folder.path().to_str().unwrap();
    assert_eq!(run(&["keys", "--state-dir", state, "init"]).status.code(), Some(2));
    assert_eq!(
        run(&["subscribe", "--broker", "mqtt://x", "--trust", key, "--consumer-key", key])
            .status
            .code(),
        Some(2),
        "a consumer that forgets"
    );
}
