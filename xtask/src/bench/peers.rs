//! The same networks in PyTorch.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::device::Device;
use super::programs::Collector;
use super::ratios::kind;

/// Single layers.
const LAYERS: &str = "layers.py";

/// Python, and the folder of the programs.
#[derive(Debug, Clone, Copy)]
pub struct Peers<'a> {
    /// An interpreter with PyTorch.
    pub python: &'a Path,
    /// Where the programs are.
    pub folder: &'a Path,
}

impl Peers<'_> {
    /// Times networks, and single layers, on a device; notes of networks that PyTorch has no peer of.
    ///
    /// # Errors
    /// If a program fails.
    pub fn run(self, device: &Device, cases: &[String], collector: &mut Collector) -> Result<Vec<String>> {
        let Some(name) = device.in_pytorch() else { return Ok(vec![no_device(device)]) };
        let mut notes = Vec::new();
        for case in cases {
            notes.extend(self.run_one(case, &["--device", &name], collector)?);
        }
        collector.run(self.command(LAYERS).args(["--device", &name]))?;
        Ok(notes)
    }

    /// Times networks on a device, eager and on a GPU as CUDA graphs; notes of those that there is no peer of, or that
    /// fail, for instance for want of memory.
    pub fn run_on(self, device: &Device, cases: &[String], collector: &mut Collector) -> Vec<String> {
        let Some(name) = device.in_pytorch() else { return vec![no_device(device)] };
        let ways: &[&[&str]] = if device.is_cpu() { &[&[]] } else { &[&[], &["--graphs"]] };
        let mut notes = Vec::new();
        for case in cases {
            for way in ways {
                let options = [&["--device", &name], *way].concat();
                match self.run_one(case, &options, collector) {
                    Ok(note) => notes.extend(note),
                    Err(error) => notes.push(format!("PyTorch {case}{}: not measured: {error:#}", way.concat())),
                }
            }
        }
        notes
    }

    /// Times one network; a note if there is no peer of it.
    fn run_one(self, case: &str, options: &[&str], collector: &mut Collector) -> Result<Option<String>> {
        let Some((program, args)) = program(case) else {
            return Ok(Some(format!("PyTorch has no peer of {case}")));
        };
        let measured = collector.run(self.command(program).args(args).args(options))?;
        let others: Vec<&str> = measured.iter().map(|one| one.case.as_str()).collect();
        let is_there = others.contains(&case);
        Ok((!is_there).then(|| format!("{program} has no peer of {case}, only of {}", others.join(", "))))
    }

    fn command(self, program: &str) -> Command {
        let mut command = Command::new(self.python);
        command.arg(self.folder.join(program));
        command
    }
}

fn no_device(device: &Device) -> String {
    format!("PyTorch has no device like {device}: not measured")
}

/// The program of a case such as `conv:36x3@50`, and its arguments.
fn program(case: &str) -> Option<(&'static str, Vec<String>)> {
    let (network, batch) = case.split_once('@')?;
    let (_, sizes) = network.split_once(':')?;
    let sizes: Vec<&str> = sizes.split('x').collect();
    let (program, args) = match (kind(case), &sizes[..]) {
        ("conv", [_, _]) => ("odenet.py", vec![network.trim_start_matches("conv:"), "--batch", batch]),
        ("encoder", [layers]) => ("transformer.py", vec![*layers, "--batch", batch]),
        // The batch is that of the program.
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
    use crate::cargo::root;

    #[test]
    fn cases_have_programs() {
        let words = |case: &str| program(case).map(|(program, args)| format!("{program} {}", args.join(" ")));
        assert_eq!(words("conv:36x3@50").unwrap(), "odenet.py 36x3 --batch 50");
        assert_eq!(words("voxels:31x128@4").unwrap(), "voxels.py 31 128 4");
        assert_eq!(words("gru:128@100").unwrap(), "gru.py --length 128 --batch 100");
        assert_eq!([words("mlp:3@1"), words("conv:36x3"), words("conv:36@50")], [None, None, None]);
        let folder = root().join("benches/peers");
        for case in ["conv:1x1@1", "encoder:1@1", "gru:1@1", "blocks:1@1", "voxels:1x1@1"] {
            assert!(folder.join(program(case).unwrap().0).is_file(), "{case}");
        }
        assert!(folder.join(LAYERS).is_file());
    }
}
