//! The configuration as its users meet it: text in, a checked value or all faults out.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "site = \"north\"\ndevice = \"ct-3\"\nstate_dir = \"/var/lib/hcc-edge\"\n\
                    mode = \"demonstration\"\n[mqtt]\nurl = \"mqtt://localhost\"\n";

fn from_text(text: &str) -> Result<Effective, ConfigError> {
    load(&Sources { text, ..Sources::default() })
}

fn with(extra: &str) -> Result<Effective, ConfigError> {
    from_text(&format!("{GOOD}{extra}"))
}

fn messages(result: Result<Effective, ConfigError>) -> Vec<String> {
    result.unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_smallest_file_is_enough() {
    let config = from_text(GOOD).unwrap().config;
    assert_eq!((config.site.as_str(), config.device.as_str()), ("north", "ct-3"));
    assert_eq!(config.mode, Mode::Demonstration);
    assert_eq!(config.limits.attempts, 3);
    assert_eq!(config.mqtt.window, 8);
    assert!(config.mqtt.view && config.mqtt.tls.is_none() && config.mqtt.login.is_none());
    assert_eq!(config.delivery.confirm, Confirm::Broker);
    assert!(!config.dicom.objects, "objects that carry an identity are asked for");
    assert_eq!(config.sandbox, SandboxRule::Required);
    assert_eq!(config.inbox.retention, crate::units::Millis(30 * 86_400_000));
}

#[test]
fn nothing_clinical_has_a_default() {
    let missing = messages(from_text(""));
    for key in ["site", "device", "state_dir", "mode", "mqtt.url"] {
        assert!(missing.iter().any(|m| m.starts_with(&format!("`{key}` is not set"))), "{key}");
    }
    assert_eq!(missing.len(), 5);
}

#[test]
fn all_faults_come_together_with_their_lines() {
    let text = "site = \"North\"\nmoed = \"clinical\"\nstate_dir = 7\n[mqtt]\nwindow = 65\n\
                urll = \"mqtt://x\"\n[limits]\nattempts = 0\n";
    let found = messages(from_text(text));
    let expected = [
        "line 1: `site` is \"North\", expected 1 to 32 characters of a-z, 0-9 and -",
        "line 2: unknown key `moed`, did you mean `mode`?",
        "line 3: `state_dir` is 7, expected a path of 1 to 4096 bytes",
        "line 5: `mqtt.window` is 65, expected 1..=16 messages",
        "line 6: unknown key `mqtt.urll`, did you mean `mqtt.url`?",
        "line 8: `limits.attempts` is 0, expected 1..=10 attempts",
    ];
    for line in expected {
        assert!(found.iter().any(|m| m == line), "{line} not in {found:#?}");
    }
    assert!(found.iter().any(|m| m.starts_with("`device` is not set")));
}

#[test]
fn a_key_in_no_section_and_a_section_too_deep_are_unknown() {
    let unknown = |extra: &str| messages(with(extra)).iter().any(|m| m.contains("unknown key"));
    assert!(unknown("[zzz]\nx = 1\n") && unknown("[inbox.deep]\nx = 1\n"));
    assert!(messages(from_text(&format!("window = 3\n{GOOD}")))[0].contains("`mqtt.window`"));
}

#[test]
fn broken_toml_names_its_line() {
    let found = messages(from_text("site = \"a\"\ndevice = = 3\n"));
    assert!(found.iter().any(|m| m.starts_with("line 2: not valid TOML")), "{found:?}");
    assert!(from_text(&" ".repeat((1 << 20) + 1)).is_err());
}

#[test]
fn environment_beats_file_and_flag_beats_environment() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut sources = Sources {
        text: GOOD,
        environment: vec![
            pair("HCC_EDGE_MQTT__URL", "mqtt://env:1"),
            pair("HCC_EDGE_MODELS", "/a:/b"),
            pair("HCC_EDGE_MQTT__VIEW", "false"),
            pair("PATH", "/bin"),
        ],
        flags: vec![("mqtt.url".to_owned(), "mqtt://flag:2".to_owned())],
    };
    sources.environment.extend(NOT_SETTINGS.iter().map(|name| pair(name, "passed over")));
    let effective = load(&sources).unwrap();
    assert_eq!(effective.config.mqtt.url.to_string(), "mqtt://flag:2");
    assert_eq!(effective.config.models.len(), 2);
    assert!(!effective.config.mqtt.view);
    sources.flags.clear();
    assert_eq!(load(&sources).unwrap().config.mqtt.url.to_string(), "mqtt://env:1");
    sources.environment.push(pair("HCC_EDGE_MQTT__WINDOWS", "1"));
    assert_eq!(
        messages(load(&sources)),
        ["HCC_EDGE_MQTT__WINDOWS: unknown key `mqtt.windows`, did you mean `mqtt.window`?"]
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let refused = |extra: &str, word: &str| {
        let found = messages(with(extra));
        assert!(found.len() == 1 && found[0].contains(word), "{extra}: {found:?}");
    };
    refused("username = \"x\"\n", "password_file");
    refused("ca_file = \"/ca\"\n", "mqtts://");
    refused("[inbox]\nsettle_s = 900\ndeadline_s = 899\n", "deadline_s");
    refused("reconnect_min_s = 60\nreconnect_max_s = 59\n", "reconnect_max_s");
    let tls = GOOD.replace("mqtt://localhost", "mqtts://localhost");
    assert!(messages(from_text(&tls))[0].contains("`mqtt.ca_file` is not set"));
    let tls = format!("{tls}ca_file = \"/ca\"\n");
    assert!(from_text(&tls).unwrap().config.mqtt.tls.unwrap().identity.is_none());
    assert!(from_text(&format!("{tls}client_cert_file = \"/c\"\n")).is_err());
}

#[test]
fn nobody_may_send_until_somebody_is_named() {
    assert_eq!(with("[receive]\nport = 104\n").unwrap().config.receive, None);
    let receive = with("[receive]\ncalling_ae = [\"CT1\", \"CT 2\"]\n").unwrap().config.receive;
    let receive = receive.unwrap();
    assert_eq!(receive.calling_ae.iter().map(AeTitle::as_str).collect::<Vec<_>>(), ["CT1", "CT 2"]);
    assert_eq!((receive.ae_title.as_str(), receive.tls), ("HCCEDGE", None));
    assert_eq!(receive.listen.to_string(), "0.0.0.0:11112");
    let found = messages(with("[receive]\ncalling_ae = [\"\"]\naddress = \"ct.example\"\n"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|m| m.ends_with("expected an IPv4 or IPv6 address")), "{found:?}");
    let most = |n: usize| with(&format!("[receive]\ncalling_ae = {:?}\n", vec!["A"; n]));
    assert!(most(64).is_ok() && most(65).is_err());
}

#[test]
fn the_receivers_settings_agree_with_each_other() {
    let refused = |extra: &str, word: &str| {
        let found = messages(with(&format!("[receive]\n{extra}")));
        assert!(found.len() == 1 && found[0].contains(word), "{extra}: {found:?}");
    };
    refused("tls_certificate = \"/c\"\n", "set together");
    refused("tls_key = \"/k\"\n", "set together");
    refused("tls_client_ca = \"/ca\"\n", "tls_certificate");
    let quiet = |deadline: u64| {
        let inbox = format!("[inbox]\ndeadline_s = {deadline}\n");
        with(&format!("[receive]\ncalling_ae = [\"A\"]\nquiet_s = 20\n{inbox}"))
    };
    assert!(quiet(21).is_ok() && quiet(20).is_err());
    let by_default = with("[receive]\ncalling_ae = [\"A\"]\n").unwrap().config;
    assert_eq!(by_default.receive.unwrap().quiet, crate::units::Millis(120_000));
    let pair = "tls_certificate = \"/c\"\ntls_key = \"/k\"\ntls_client_ca = \"/ca\"\n";
    let config = with(&format!("[receive]\ncalling_ae = [\"A\"]\n{pair}")).unwrap().config;
    assert_eq!(config.receive.unwrap().tls.unwrap().client_ca, Some("/ca".into()));
}

#[test]
fn a_password_in_the_address_is_refused_and_not_repeated() {
    let found = messages(from_text(&GOOD.replace("localhost", "user:secret@localhost")));
    assert!(found.len() == 1 && found[0].contains("credentials"), "{found:?}");
    assert!(!found[0].contains("secret"), "{found:?}");
}

#[test]
fn every_range_holds_on_both_sides() {
    for key in KEYS {
        let Kind::Integer { low, high } = key.kind else { continue };
        let load_with = |value: u64| {
            // The neighbour in an ordered pair follows, so that only the range is tested.
            let pairs = [
                ("inbox.settle_s", "inbox.deadline_s"),
                ("inbox.deadline_s", "inbox.settle_s"),
                ("mqtt.reconnect_min_s", "mqtt.reconnect_max_s"),
                ("mqtt.reconnect_max_s", "mqtt.reconnect_min_s"),
            ];
            let mut flags = vec![(key.path.to_owned(), value.to_string())];
            if let Some((_, other)) = pairs.iter().find(|(a, _)| *a == key.path) {
                let Some(Key { kind: Kind::Integer { low, high }, .. }) = Key::find(other) else {
                    unreachable!("ordered keys are integers")
                };
                flags.push(((*other).to_owned(), value.clamp(*low, *high).to_string()));
            }
            load(&Sources { text: GOOD, flags, ..Sources::default() })
        };
        assert!(load_with(low).is_ok() && load_with(high).is_ok(), "{}", key.path);
        assert!(load_with(high + 1).is_err(), "{}", key.path);
        assert!(low == 0 || load_with(low - 1).is_err(), "{}", key.path);
    }
}

#[test]
fn the_table_is_sound() {
    for (i, key) in KEYS.iter().enumerate() {
        assert!(!key.doc.is_empty() && !key.example.is_empty(), "{}", key.path);
        assert!(KEYS[..i].iter().all(|other| other.path != key.path), "{} twice", key.path);
        let text = match key.path.split_once('.') {
            Some((section, name)) => format!("[{section}]\n{name} = {}\n", key.example),
            None => format!("{} = {}\n", key.path, key.example),
        };
        let bad_example = messages(from_text(&text)).iter().any(|m| m.starts_with("line"));
        assert!(!bad_example, "example of {}", key.path);
        if matches!(key.presence, Presence::Default(_)) {
            assert!(from_text(GOOD).unwrap().values.contains_key(key.path), "{}", key.path);
        }
        assert!(reference().contains(&format!("| `{}` |", key.path)));
    }
}

#[test]
fn what_show_prints_reads_back_the_same() {
    let first = with("window = 3\n[engine]\nthreads = 2\nrequire = \"cpu\"\n").unwrap();
    let again = from_text(&first.to_toml()).unwrap();
    assert_eq!(first.config, again.config);
    let shaping =
        "mode = \"demonstration\"\nlimits.max_image_mib = 1024\nlimits.max_voxels = 268435456\n";
    assert_eq!(first.result_settings(), shaping);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = with(&text);
    }

    #[test]
    fn no_line_of_known_words_panics(key in 0..KEYS.len(), value in "[-0-9a-z\"\\[\\]{}=. ]{0,12}") {
        let _ = from_text(&format!("{} = {value}\n", KEYS[key].path));
    }
}
