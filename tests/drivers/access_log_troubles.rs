//! What becomes of access records where nobody takes them, and that no visitor ever waits for that.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;

use ringpress::driver::kind::Kind;
use ringpress::limits::{ACCESS_BUFFER_BYTES, ACCESS_LOG_QUEUE};
use serde_json::Value;

use super::access_log::{Log, api, script};
use super::stage::wait;
use super::visitor::{Visitor, get};

on_every_driver!(
    a_reader_who_reads_nothing_holds_up_nobody,
    a_file_that_is_renamed,
    a_disk_that_is_full,
);

/// A FIFO that is open, and from which nobody reads.
fn a_reader_who_reads_nothing_holds_up_nobody(kind: Kind) {
    let log = Log::new();
    let path = log.path();
    let mode = rustix::fs::Mode::from(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let stage = script(kind, &log, "").start(api());
    let mut reader = File::options().read(true).write(true).open(&path).unwrap();
    // More than all buffers and the pipe hold.
    let agent = "a".repeat(1000);
    let target = format!("/plain?{}", "b".repeat(3000));
    let ask = format!("GET {target} HTTP/1.1\r\nHost: t\r\nUser-Agent: {agent}\r\n\r\n");
    let requests = ACCESS_LOG_QUEUE * ACCESS_BUFFER_BYTES / 4000 + 100;
    let mut visitor = stage.visitor();
    let pipelined = 50;
    for _ in 0..requests / pipelined + 1 {
        visitor.send(ask.repeat(pipelined));
        for _ in 0..pipelined {
            assert_eq!(visitor.reply().status, 200);
        }
    }
    let asked = ((requests / pipelined + 1) * pipelined) as u64;
    let counted = || {
        let dropped = stage.count(|m| m.access_records_dropped.get());
        (stage.count(|m| m.access_records.get()), dropped)
    };
    // The last one is counted after the visitor has its answer.
    wait("all records", || counted().0 + counted().1 == asked);
    let (kept, dropped) = counted();
    assert!(dropped > 0, "{kept} records, none dropped");
    // When it reads again it gets all that was kept, whole.
    let reading = std::thread::spawn(move || {
        let (mut text, mut bytes, mut lines) = (Vec::new(), vec![0; 1 << 16], 0);
        while lines < kept {
            let read = reader.read(&mut bytes).unwrap();
            lines += bytes[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            text.extend_from_slice(&bytes[..read]);
        }
        text
    });
    let text = String::from_utf8(reading.join().unwrap()).unwrap();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect(line);
        assert_eq!(record["target"], target.as_str());
    }
    drop(visitor);
    stage.finish();
}

fn a_file_that_is_renamed(kind: Kind) {
    const VISITORS: usize = 3;
    const REQUESTS: usize = 200;
    let log = Log::new();
    let stage = script(kind, &log, "").workers(2).start(api());
    let address = stage.address();
    let reopener = stage.log.as_ref().unwrap().reopener();
    std::thread::scope(|scope| {
        for visitor in 0..VISITORS {
            scope.spawn(move || {
                let mut connection = Visitor::to(address);
                for request in 0..REQUESTS {
                    connection.get(&format!("/plain?{visitor}-{request}"));
                }
            });
        }
        for turn in 0..5 {
            wait("the file", || log.path().exists());
            fs::rename(log.path(), log.folder.path().join(format!("old-{turn}"))).unwrap();
            reopener.reopen();
        }
    });
    stage.finish();
    let mut targets = Vec::new();
    for file in fs::read_dir(log.folder.path()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        targets.extend(records.map(|record| record["target"].as_str().unwrap().to_owned()));
    }
    targets.sort_unstable();
    let expected = (0..VISITORS).flat_map(|visitor| {
        (0..REQUESTS).map(move |request| format!("/plain?{visitor}-{request}"))
    });
    let mut expected: Vec<String> = expected.collect();
    expected.sort_unstable();
    assert_eq!(targets, expected);
}

fn a_disk_that_is_full(kind: Kind) {
    let log = Log::new();
    symlink("/dev/full", log.path()).unwrap();
    let stage = script(kind, &log, "").start(api());
    let agent = "a".repeat(1000);
    let ask = format!("GET /plain HTTP/1.1\r\nHost: t\r\nUser-Agent: {agent}\r\n\r\n");
    let mut visitor = stage.visitor();
    let mut asked = 0;
    while stage.count(|m| m.access_records_dropped.get()) == 0 {
        visitor.send(ask.repeat(50));
        (0..50).for_each(|_| assert_eq!(visitor.reply().status, 200));
        asked += 50;
        assert!(asked < 10_000, "nothing is dropped");
    }
    wait("the last record", || {
        stage.count(|m| m.access_records.get() + m.access_records_dropped.get()) == asked
    });
    // There is room again: what was kept is written, each record once and whole.
    fs::remove_file(log.path()).unwrap();
    stage.log.as_ref().unwrap().reopener().reopen();
    let kept = stage.count(|m| m.access_records.get());
    wait("what was kept", || {
        let text = fs::read_to_string(log.path()).unwrap_or_default();
        text.ends_with('\n') && text.lines().count() as u64 == kept
    });
    visitor.send(get("/plain"));
    visitor.reply();
    drop(visitor);
    assert_eq!(log.end(stage).len() as u64, kept + 1);
}
