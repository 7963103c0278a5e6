//! The same networks in PyTorch.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::programs::Collector;
use super::ratios::kind;
use crate::cargo::root;

/// The folder of the programs.
const FOLDER: &str = "benches/peers";
/// Single layers.
const LAYERS: &str = "layers.py";

/// Times networks, and single layers, in PyTorch; notes of networks that it has no peer of.
///
/// # Errors
/// If a program fails.
pub fn run(python: &Path, cases: &[String], collector: &mut Collector) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for case in cases {
        let Some((program, args)) = program(case) else {
            notes.push(format!("{FOLDER} has no peer of {case}"));
            continue;
        };
        let measured = collector.run(command(python, program).args(args))?;
        if !measured.iter().any(|one| one.case == *case) {
            let others: Vec<&str> = measured.iter().map(|one| one.case.as_str()).collect();
            notes.push(format!("{FOLDER}/{program} has no peer of {case}, only of {}", others.join(", ")));
        }
    }
    collector.run(&mut command(python, LAYERS))?;
    Ok(notes)
}

fn command(python: &Path, program: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join(FOLDER).join(program));
    command
}

/// The program of a case such as `conv:36x3@50`, and its arguments.
fn program(case: &str) -> Option<(&'static str, Vec<String>)> {
    let (network, batch) = case.split_once('@')?;
    let (_, sizes) = network.split_once(':')?;
    let sizes: Vec<&str> = sizes.split('x').collect();
    let (program, args) = match (kind(case), &sizes[..]) {
        // The batch is that of the program.
        ("conv", [_, _]) => ("odenet.py", vec![network.trim_start_matches("conv:")]),
        ("encoder", [layers]) => ("transformer.py", vec![*layers]),
        ("blocks", [per_block]) => ("blocks.py", vec![*per_block]),
        ("gru", [length]) => ("gru.py", vec!["--length", length, "--batch", batch]),
        ("voxels", [side, layers]) => ("voxels.py", vec![*side, *layers, batch]),
        _ => return None,
    };
    Some((program, args.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_programs() {
        let words = |case: &str| program(case).map(|(program, args)| format!("{program} {}", args.join(" ")));
        assert_eq!(words("conv:36x3@50").unwrap(), "odenet.py 36x3");
        assert_eq!(words("voxels:31x128@4").unwrap(), "voxels.py 31 128 4");
        assert_eq!(words("gru:128@100").unwrap(), "gru.py --length 128 --batch 100");
        assert_eq!([words("mlp:3@1"), words("conv:36x3"), words("conv:36@50")], [None, None, None]);
        for case in ["conv:1x1@1", "encoder:1@1", "gru:1@1", "blocks:1@1", "voxels:1x1@1"] {
            assert!(root().join(FOLDER).join(program(case).unwrap().0).is_file(), "{case}");
        }
        assert!(root().join(FOLDER).join(LAYERS).is_file());
    }
}
