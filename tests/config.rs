//! What a configuration may say: Litestream's files as they stand, and every mistake with its place.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

use std::path::Path;
use std::time::Duration;

use walferry::ltx::Codec;
use walferry::native::config::{Config, Error};
use walferry::native::store::Destination;

const HOUR: Duration = Duration::from_secs(3600);

fn variable(name: &str) -> Option<String> {
    match name {
        "BUCKET" => Some("from-the-environment".to_owned()),
        "SECRET" => Some("p: #a$ss{word}".to_owned()),
        "HOME" => Some("/home/app".to_owned()),
        "PID" => Some("77".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(Path::new("test.yml"), text, Some(&variable))
}

fn accepted(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The file is refused with exactly these lines.
fn refused(text: &str, expected: &[&str]) {
    let error = match parse(text) {
        Ok(config) => panic!("accepted: {config:?}\n{text}"),
        Err(error) => error.to_string(),
    };
    let expected: Vec<String> = expected.iter().map(|line| format!("test.yml:{line}")).collect();
    assert_eq!(error.lines().collect::<Vec<_>>(), expected, "\n{text}");
}

fn urls(config: &Config) -> Vec<String> {
    let replicas = config.databases.iter().flat_map(|database| &database.replicas);
    replicas.map(|replica| replica.destination.to_string()).collect()
}

#[test]
fn the_example_that_everybody_has_works_as_it_stands() {
    let config = accepted(
        "dbs:
  - path: /data/app.db
    replicas:
      - type: s3
        bucket: my-app-backups
        path: app.db
        region: eu-west-1
        retention: 72h
",
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(urls(&config), ["s3://my-app-backups/app.db"]);
    let database = &config.databases[0];
    assert_eq!(database.path, Path::new("/data/app.db"));
    let replica = &database.replicas[0];
    assert_eq!(replica.policy.retention, 72 * HOUR);
    assert_eq!(
        (replica.sync_interval, replica.codec),
        (Duration::from_secs(1), Codec::Lz4)
    );
    let Destination::S3(s3) = &replica.destination else {
        panic!("{:?}", replica.destination);
    };
    assert_eq!(
        (s3.bucket.as_str(), s3.path.as_str()),
        ("my-app-backups", "app.db")
    );
    assert_eq!(s3.region.as_deref(), Some("eu-west-1"));
}

#[test]
fn what_litestream_writes_about_works() {
    let config = accepted(
        r#"# A comment with $NOTHING in it.
addr: ":9090"
access-key-id: AKIAxxxxxxxxxxxxxxxx
secret-access-key: ${SECRET}
exec: "myapp -addr ':8080' --flag"
logging: {level: debug, type: json, stderr: true}
socket:
  enabled: true
  path: /run/walferry.sock
  permissions: 0660
levels:
  - interval: 1m
  - interval: 10m
snapshot:
  interval: 12h
  retention: 48h
l0-retention: 10m
shutdown-sync-timeout: 5s
dbs:
  - path: /data/one.db
    replica:
      url: s3://mybkt.litestream.io/one.db
      sync-interval: 10s
  - path: /data/two.db
    snapshot: {interval: 1h}
    min-checkpoint-page-count: 500
    replica:
      type: s3
      bucket: $BUCKET
      path: two.db
      endpoint: minio.internal:9000
      force-path-style: true
      access-key-id: 0012
      secret-access-key: 1e5
  - path: ~/three.db
    meta-path: /var/lib/three
    replicas:
      - path: /backup/three
        codec: lz4-frame
      - type: file
        path: /backup/$PID/three
      - url: abs://account@container/three
      - url: gs://bucket/three
        retention: 1h30m
  - dir: /data/tenants
    pattern: "*.db"
    recursive: true
    watch: true
    replica: {type: s3, bucket: tenants, path: dbs}
"#,
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(
        urls(&config),
        [
            "s3://mybkt.litestream.io/one.db",
            "s3://from-the-environment/two.db?endpoint=https://minio.internal:9000",
            "file:///backup/three",
            "file:///backup/77/three",
            "abs://account@container/three",
            "gs://bucket/three",
        ]
    );
    assert_eq!(config.addr.as_ref().unwrap().to_string(), ":9090");
    assert_eq!(
        config.exec.as_deref().unwrap(),
        ["myapp", "-addr", ":8080", "--flag"]
    );
    assert_eq!(config.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(config.logging.level, Some(tracing::Level::DEBUG));
    assert!(config.logging.json && !config.logging.stdout);
    let socket = config.socket.as_ref().unwrap();
    assert_eq!(
        (socket.path.to_str().unwrap(), socket.permissions),
        ("/run/walferry.sock", 0o660)
    );

    let [one, two, three] = [0, 1, 2].map(|index| &config.databases[index].replicas[0]);
    assert_eq!(
        (one.sync_interval, two.sync_interval),
        (Duration::from_secs(10), Duration::from_secs(1))
    );
    assert_eq!(
        (one.policy.snapshot_interval, two.policy.snapshot_interval),
        (12 * HOUR, HOUR)
    );
    assert_eq!(two.policy.retention, 48 * HOUR);
    assert_eq!(two.policy.levels, [60, 600].map(Duration::from_secs));
    assert_eq!(two.policy.raw_retention, Duration::from_secs(600));
    assert_eq!(
        config.databases[2].replicas[3].policy.retention,
        Duration::from_secs(5400)
    );
    assert_eq!((one.codec, three.codec), (Codec::Lz4, Codec::Lz4Frame));
    // A key of digits stays what it is, and a secret may hold whatever YAML has a meaning for.
    let key = |replica: &walferry::native::config::Replica| match &replica.destination {
        Destination::S3(s3) => (
            s3.access_key_id.clone().unwrap(),
            s3.secret_access_key.as_ref().unwrap().reveal().to_owned(),
        ),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        key(one),
        ("AKIAxxxxxxxxxxxxxxxx".to_owned(), "p: #a$ss{word}".to_owned())
    );
    assert_eq!(key(two), ("0012".to_owned(), "1e5".to_owned()));

    assert_eq!(config.databases[1].treatment.checkpoint_frames, Some(500));
    let state = config.databases[2].treatment.state_of(&config.databases[2].path);
    assert_eq!(state.as_deref(), Some(Path::new("/var/lib/three")));
    let folder = &config.folders[0];
    assert!(folder.recursive && folder.watch && folder.pattern.is_match("x.db"));
    let database = folder.database(Path::new("/data/tenants/eu/x.db")).unwrap();
    assert_eq!(
        database.replicas[0].destination.to_string(),
        "s3://tenants/dbs/eu/x.db"
    );
    assert!(!format!("{config:?}").contains("word"), "{config:?}");
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_its_neighbour() {
    refused(
        "dbs:
  - path: /data/app.db
    chekpoint-interval: 1m
    replicas:
      - type: s3
        bucket: b
        retension: 72h
        xyz: 1
      - url: file:///backup/app
        sync-intervall: 1s
logging:
  levle: info
adr: :9090
",
        &[
            "3:5: a database has no chekpoint-interval: did you mean checkpoint-interval?",
            "7:9: a replica has no retension: did you mean retention?",
            "8:9: a replica has no xyz",
            "10:9: a replica has no sync-intervall: did you mean sync-interval?",
            "12:3: logging has no levle: did you mean level?",
            "13:1: the configuration has no adr: did you mean addr?",
        ],
    );
}

#[test]
fn a_value_that_will_not_do_is_named_with_its_place() {
    refused(
        "addr: here
shutdown-sync-timeout: soon
levels: [{interval: 5m}, {interval: 1m}]
dbs:
  - path: /data/app.db
    wal-limit: much
    replica:
      url: file:///backup/app
      retention: 72
      codec: zip
  - path: /data/b.db
    replica:
      type: s3
      path: b
  - path: /data/c.db
  - replica: {path: /c}
  - dir: /data
    replica: {path: /d}
  - path: /data/e.db
    replica: {path: 's3://bucket/e'}
  - path: /data/f.db
    replica: {type: sftp, path: /f}
  - path: /data/g.db
    replica: {url: 'https://host/v1/g', path: g}
  - path: [1, 2]
    replica: {path: /h}
",
        &[
            "1:7: addr: \"here\" will not do: \"here\" is no address to listen at: write \":9090\" or \"127.0.0.1:9090\"",
            "2:24: shutdown-sync-timeout: \"soon\" will not do: a time is written 500ms, 10s, 5m or 72h",
            "3:1: every level's interval is longer than the one before it",
            "6:16: wal-limit: \"much\" will not do: a size is written 64MiB, 500kB or 1GiB",
            "9:18: retention: \"72\" will not do: a time is written 500ms, 10s, 5m or 72h",
            "10:14: codec: \"zip\" will not do: there is no codec \"zip\": choose lz4, lz4-frame, deflate or stored",
            "13:7: a replica of type s3 needs a bucket",
            "15:5: a database needs a replica: where should it go?",
            "16:5: a database needs a path, or dir and pattern for all that are in a folder",
            "17:5: dir needs a pattern, \"*.db\" for instance",
            "20:21: \"s3://bucket/e\" is a URL: write url instead of path",
            "22:21: walferry has no sftp destinations, as Litestream has: there are s3, gs, abs, file and worker",
            "24:47: url and path both say where it is: leave path \"g\" out",
            "25:5: a database needs a path, or dir and pattern for all that are in a folder",
            "25:11: path takes a single value",
        ],
    );
    refused("", &["1:1: there is nothing in it: it needs dbs"]);
    refused(
        "dbs: {a: 1}",
        &["1:6: dbs takes a list, every item with a dash before it"],
    );
    refused(
        "- a",
        &["1:1: the configuration is described by names and values, \"name: value\""],
    );
    refused(
        "dbs:\n  - path: /a\n    replica: /b\n",
        &["3:14: a replica is described by names and values, \"name: value\""],
    );
    refused("a: 1\na: 2\n", &["2:1: a is there a second time"]);
}

#[test]
fn a_heartbeat_goes_to_the_web_every_five_minutes_unless_it_is_said_otherwise() {
    let dbs = "dbs: [{path: /a, replica: {path: /b}}]\n";
    assert_eq!(accepted(dbs).heartbeat, None);
    let pulse = accepted(&format!("heartbeat-url: https://example.com/ping/1\n{dbs}"))
        .heartbeat
        .unwrap();
    assert_eq!(pulse.url.as_str(), "https://example.com/ping/1");
    assert_eq!(pulse.interval, Duration::from_secs(300));
    let text = format!("heartbeat-url: http://a/\nheartbeat-interval: 1m\n{dbs}");
    assert_eq!(
        accepted(&text).heartbeat.unwrap().interval,
        Duration::from_secs(60)
    );
    refused(
        &format!("heartbeat-url: example.com\n{dbs}"),
        &["1:16: heartbeat-url: \"example.com\" will not do: it must be an address on the web: https://…"],
    );
    refused(
        &format!("heartbeat-interval: 0s\nheartbeat-url: http://a/\n{dbs}"),
        &[
            "1:21: heartbeat-interval: \"0s\" will not do: it must be longer than nothing: a time is written 500ms, 1s or 5m",
        ],
    );
}

#[test]
fn what_walferry_does_not_act_on_is_said_and_encryption_is_never_dropped() {
    let config = accepted(
        "mcp-addr: :3001
verify-compaction: true
dbs:
  - path: /data/app.db
    monitor-interval: 1s
    replica:
      url: file:///backup/$NOT_SET
      validation-interval: 12h
",
    );
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    let starts = [
        "1:1: mcp-addr has no effect here: ",
        "2:1: verify-compaction has no effect here: ",
        "5:5: monitor-interval has no effect here: ",
        "7:12: the variable NOT_SET is not set",
        "8:7: validation-interval has no effect here: ",
    ];
    assert_eq!(warnings.len(), starts.len(), "{warnings:#?}");
    for (warning, start) in warnings.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warning}");
    }
    for (text, place) in [
        (
            "dbs:\n  - path: /a\n    replica: {path: /b, age: {identities: [x]}}",
            "3:25: age: ",
        ),
        ("age: {recipients: [x]}\ndbs: []", "1:1: age: "),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains("in plain"), "{error}");
    }
}

#[test]
fn two_that_would_write_to_one_place_are_refused_by_name() {
    refused(
        "dbs:
  - path: /data/a.db
    replicas:
      - {type: s3, bucket: b, path: /app/, endpoint: 'https://s3.example.com'}
      - url: file:///backup/../backup/a
  - path: /data/b.db
    replica: {url: 's3://b/app?endpoint=https://S3.example.com'}
  - path: /data/c.db
    replica: {path: /backup/a/ltx/0}
  - path: /data/.//a.db
    replica: {path: /backup/d}
",
        &[
            "7:14: s3://b/app?endpoint=https://S3.example.com would hold /data/b.db and is for /data/a.db already (line \
             4): give every database, and every replica, a place of its own",
            "9:14: file:///backup/a/ltx/0 for /data/c.db lies within file:///backup/a for /data/a.db (line 5): give each \
             a place of its own",
            "10:5: the database /data/a.db is there already, in line 2",
        ],
    );
}

#[test]
fn secrets_are_in_no_message() {
    for text in [
        "dbs:\n  - path: /a\n    replica: {url: 's3://key:hunter2@bucket/a'}",
        "dbs:\n  - path: /a\n    replica: {type: s3, bucket: b, secret-access-key: hunter2}",
        "dbs:\n  - path: /a\n    replica: {url: 'https://me:hunter2@host/v1/a'}",
        "secret-access-key: [hunter2]\ndbs: []",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_file_is_found_named_or_missed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yml");
    let error = Config::load(Some(&file), true).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration"), "{error}");
    std::fs::write(&file, "dbs:\n  - path: /$PID.db\n    replica: {path: /b}\n").unwrap();
    let pid = std::process::id();
    let path = |expand| {
        Config::load(Some(&file), expand).unwrap().databases[0]
            .path
            .clone()
    };
    assert_eq!(path(true), Path::new(&format!("/{pid}.db")));
    assert_eq!(path(false), Path::new("/$PID.db"));
}

/// Each configuration that a page of the documentation shows.
#[test]
fn every_example_in_the_documentation_is_accepted() {
    fn pages(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut found);
    let mut examples = 0;
    for page in found {
        let text = std::fs::read_to_string(&page).unwrap();
        for example in text.split("```yaml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            if !example.contains("dbs:") {
                continue;
            }
            let set = |_: &str| Some("set".to_owned());
            let config = Config::parse(&page, example, Some(&set));
            let config = config.unwrap_or_else(|error| panic!("{error}\n{example}"));
            let replicas = |config: &Config| urls(config).len();
            assert!(replicas(&config) > 0, "{}:\n{example}", page.display());
            assert_eq!(config.warnings.len(), 0, "{}:\n{example}", page.display());
            examples += 1;
        }
    }
    assert!(examples >= 12, "{examples} examples");
}

#[test]
fn thousands_of_databases_are_read_in_no_time() {
    let mut text = "dbs:\n".to_owned();
    for n in 0..3000 {
        text += &format!("  - {{path: /data/{n}.db, replica: {{path: /backup/{n}}}}}\n");
    }
    let start = std::time::Instant::now();
    assert_eq!(accepted(&text).databases.len(), 3000);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
