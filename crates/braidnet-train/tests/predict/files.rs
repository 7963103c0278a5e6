use braidnet_train::predict::{Costs, MachineFile, Times};

use super::*;

fn file() -> MachineFile {
    let mut costs = costs(4);
    costs.layers[0].forward = Times::from(0.1 + 0.2);
    costs.prepare = Some(Times::from(1e-9));
    MachineFile { machine: machine(1e-6, f64::INFINITY), costs }
}

/// The message for the text of `file()` with `from` replaced by `to`.
fn refusal(from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("machine.toml");
    file().write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in\n{text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    MachineFile::read(&path).unwrap_err().to_string()
}

#[test]
fn a_file_reads_back_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("machine.toml");
    file().write(&path).unwrap();
    assert_eq!(MachineFile::read(&path).unwrap(), file());
}

#[test]
fn bad_files_are_refused_with_line_and_key() {
    for (from, to, parts) in [
        ("latency = 0.000001", "latency = -1.0", &["machine.toml", "line", "latency", "at least 0"][..]),
        ("latency = 0.000001", "latency = nan", &["line", "latency = nan", "NaN is not possible"]),
        ("latency = 0.000001", "latency = 0.000001\nlatncy = 1.0", &["line", "latncy", "unknown field"]),
        ("bandwidth = inf", "bandwidth = 0.0", &["line", "bandwidth", "above 0"]),
        ("ranks_per_node = 2", "ranks_per_node = 0", &["line", "ranks_per_node", "from 1"]),
        ("ranks_per_node = 2", "", &["missing field `ranks_per_node`"]),
        ("count = 4", "count = 0", &["line", "count", "from 1"]),
        ("back = [2.25]", "back = [-2.25]", &["line", "back", "at least 0"]),
        ("back = [2.25]", "back = [2.25, 3.0]", &["layers[0].back has 2 times for 1"]),
        ("operator = \"midpoint\"", "operator = \"middle\"", &["line", "operator", "unknown variant"]),
    ] {
        let message = refusal(from, to);
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = MachineFile::read("no/such/machine.toml".as_ref()).unwrap_err().to_string();
    assert!(message.starts_with("no/such/machine.toml: "), "{message}");
}

#[test]
fn costs_of_several_batches_are_joined() {
    let of = |samples: usize, forward: f64| {
        let mut costs = costs(4);
        costs.samples = vec![samples];
        costs.layers[0].forward = Times::from(forward);
        costs
    };
    let joined = Costs::join(vec![of(8, 5.0), of(2, 2.0)]).unwrap();
    assert_eq!((joined.samples, &joined.layers[0].forward), (vec![2, 8], &Times(vec![2.0, 5.0])));
    assert_eq!(joined.layers.len(), 1);
    assert!(Costs::join(vec![of(2, 1.0), of(2, 1.0)]).unwrap_err().to_string().contains("ascending"));
    let shorter = Costs { samples: vec![4], ..costs(3) };
    assert!(Costs::join(vec![of(2, 1.0), shorter]).unwrap_err().to_string().contains("of 4 layers and of 3"));
    assert!(Costs::join(Vec::new()).is_err());
}
