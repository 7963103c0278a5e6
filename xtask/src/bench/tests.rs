//! Arguments, and whole runs from made-up measurements.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use super::made_up::{measured, timed};
use super::*;
use braidnet_monitor::Measurement;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn parse(line: &str) -> Result<Options, clap::Error> {
    // Quoted words stay one, as a shell would have it.
    let words = line.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().collect::<Vec<_>>(),
        _ => vec![part],
    });
    let matches = Cli::command().try_get_matches_from(["bench"].into_iter().chain(words))?;
    Cli::from_arg_matches(&matches).map(|cli| cli.options)
}

#[test]
fn arguments_are_parsed() {
    let line = "--suite strong --network conv:36x3,gru:64 --network encoder:8 --ranks 1,2 --launcher 'srun -n {ranks}'";
    let options = parse(line).unwrap();
    assert_eq!((options.suite, options.networks.len(), options.ranks.len()), (Suite::Strong, 3, 2));
    assert!(matches!(options.launcher, Launcher::Processes(_)));
    let gpu = prepare(&parse("--suite gpu --device cuda:0 --features cuda-nvrtc").unwrap()).unwrap();
    assert_eq!((gpu.device.feature(), gpu.features.concat().as_str()), (Some("cuda"), "cuda-nvrtc"));
    assert_eq!((&gpu.ranks[..], gpu.repeats), (&[1][..], 1));
    assert!(!prepare(&parse("--build-into a").unwrap()).unwrap().workspace.has_mpi);
    let plain = prepare(&parse("").unwrap()).unwrap();
    assert_eq!((plain.suite, &plain.networks[..]), (Suite::Quick, &["conv:36x3".to_owned()][..]));
    assert_eq!((plain.launcher, plain.repeats, plain.out), (Launcher::Threads, 5, default_out()));
}

#[test]
fn arguments_that_cannot_be_are_refused() {
    for (line, kind, words) in [
        ("--suite slow", ErrorKind::InvalidValue, "quick, peers, strong, weak, schedules, gpu"),
        ("--ranks 0", ErrorKind::ValueValidation, "'--ranks <N>'"),
        ("--ranks ''", ErrorKind::ValueValidation, "'--ranks <N>'"),
        ("--repeats 0", ErrorKind::ValueValidation, "'--repeats <N>'"),
        ("--launcher 'mpirun -n 2'", ErrorKind::ValueValidation, "no {ranks} in \"mpirun -n 2\""),
        ("--device coda", ErrorKind::ValueValidation, "use one of cpu, flex, ndarray, cuda"),
        ("--device cpu:0", ErrorKind::ValueValidation, "no device \"cpu:0\""),
        ("--built a --build-into b", ErrorKind::ArgumentConflict, "--build-into"),
        ("--built a --features cuda-nvrtc", ErrorKind::ArgumentConflict, "--features"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{line}: {error}");
        assert_eq!(error.exit_code(), i32::from(USAGE));
    }
    let Err(error) = prepare(&parse("--compare /no/such/file.json").unwrap()) else { panic!("no error") };
    assert!(format!("{error:#}").starts_with("cannot read /no/such/file.json"), "{error:#}");
}

/// Times as those of a solver that pays off from two ranks on.
fn strong() -> Results {
    let with = |waiting, one| Measurement { waiting: Some(waiting), ..one };
    let mut all = vec![with(0.0, timed("seq", 1, 0.100))];
    for (ranks, parallel, mixed) in [(1, 0.16, 0.13), (2, 0.09, 0.08), (4, 0.05, 0.06)] {
        all.push(with(0.2, timed("lp:2/4/1/1", ranks, parallel)));
        all.push(with(0.1, timed("mixed:2/4/1", ranks, mixed)));
        all.push(with(0.02, timed("dp", ranks, 0.1 / ranks as f64 + 0.03)));
    }
    measured(all)
}

fn schedules() -> Results {
    let with = |error, one| Measurement { gradient_error: Some(error), ..one };
    let mut all = vec![with(0.0, timed("seq", 1, 0.2))];
    for (index, cfactor) in [2, 4, 8, 16].into_iter().enumerate() {
        for (sweeps, suffix) in ["", "+fcf"].into_iter().enumerate() {
            let error = 0.002 * f64::from(cfactor) / (1.0 + 9.0 * sweeps as f64);
            let time = 0.15 - 0.02 * index as f64 + 0.04 * sweeps as f64;
            all.push(with(error, timed(&format!("lp:2/{cfactor}/1/1{suffix}"), 2, time)));
        }
    }
    Results { suite: "schedules".into(), ..measured(all) }
}

fn weak() -> Results {
    let of = |ranks: usize, variant: &str, time| Measurement {
        case: format!("conv:{}x3@50", 32 * ranks),
        waiting: Some(0.1),
        ..timed(variant, ranks, time)
    };
    let mut all = vec![of(1, "seq", 0.1), of(1, "lp:2/8/1/1", 0.18)];
    all.extend([(2, 0.19), (4, 0.2), (8, 0.23)].map(|(ranks, time)| of(ranks, "lp:2/8/1/1", time)));
    all.extend([(2, 0.2), (4, 0.4), (8, 0.8)].map(|(ranks, time)| of(ranks, "seq", time)));
    Results { suite: "weak".into(), ..measured(all) }
}

#[test]
fn a_run_leaves_tables_pictures_and_the_run_before() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(Suite::Strong, Workspace { has_mpi: false }, folder.path().join("new"));
    let there = |name: &str| bench.out.join(name).exists();
    bench.write(&strong()).unwrap();
    assert!(there("strong.json") && !there("strong.previous.json"));
    bench.write(&strong()).unwrap();
    assert!(there("strong.previous.json"));
    assert_eq!(Results::read(&bench.out.join("strong.json")).unwrap(), strong());
    let page = fs::read_to_string(bench.out.join("strong.md")).unwrap();
    for name in ["speed-up-conv-36x3-50", "split-conv-36x3-50"] {
        assert!(there(&format!("{name}.svg")) && page.contains(&format!("({name}.svg)")), "{name}");
    }
    // What cannot be read is kept, and is no reason to lose the new results.
    fs::write(bench.out.join("strong.json"), "{").unwrap();
    bench.write(&strong()).unwrap();
    assert_eq!(fs::read_to_string(bench.out.join("strong.previous.json")).unwrap(), "{");
    assert_eq!(Results::read(&bench.out.join("strong.json")).unwrap(), strong());
}

#[test]
fn pictures_show_what_they_should() {
    let drawn = |results: &Results| {
        let pictures = charts::draw(results).unwrap();
        pictures.into_iter().map(|(picture, _)| (picture.name, picture.svg.unwrap())).collect::<Vec<_>>()
    };
    let strong = drawn(&strong());
    for text in ["sequential, 1 rank", "lp:2/4/1/1 (crossover at 1.7)", "mixed:2/4/1 (crossover at 1.4)", "speed-up"] {
        assert!(strong[0].1.contains(text), "{text}");
    }
    assert!(strong[1].1.contains("waiting for other ranks") && strong[1].1.contains("mixed:2/4/1, 4 ranks"));
    let front = drawn(&schedules());
    assert_eq!(front.len(), 1);
    assert!(front[0].1.contains("Pareto front") && front[0].1.contains("FCF-relaxation"));
    let names: Vec<String> = drawn(&weak()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["weak-time-conv-32x3-50", "weak-efficiency-conv-32x3-50"]);
    for (name, svg) in [strong, front].concat() {
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
}
