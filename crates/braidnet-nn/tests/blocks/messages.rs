//! What ranks tell each other of a batch, and things by point.

use braidnet_comm::Transfer;
use braidnet_nn::ByPoint;
use proptest::prelude::*;

use crate::*;

fn packed(samples: &Samples) -> Vec<u8> {
    let mut bytes = Vec::new();
    samples.pack(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_batch_arrives_as_it_was(n: u32, is_training: bool) {
        let samples = Samples { n: n as usize, is_training };
        let bytes = packed(&samples);
        prop_assert_eq!(bytes.len(), samples.n_bytes());
        prop_assert_eq!(Samples::unpack(&bytes, &Device::flex()).unwrap(), samples);
    }

    #[test]
    fn other_lengths_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assume!(bytes.len() != 16);
        prop_assert!(Samples::unpack(&bytes, &Device::flex()).is_err());
    }

    #[test]
    fn a_flag_is_zero_or_one(n: u64, flag in prop_oneof![0u64..4, any::<u64>()]) {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.extend(flag.to_le_bytes());
        prop_assert_eq!(Samples::unpack(&bytes, &Device::flex()).is_ok(), flag < 2);
    }

    /// The thing at a point is that of the last part that begins there or before, and counting from elsewhere changes no point's.
    #[test]
    fn things_by_point(lengths in prop::collection::vec(1usize..5, 1..5), before in 0usize..12) {
        let starts: Vec<usize> = lengths.iter().scan(0, |next, n| { *next += n; Some(*next) }).collect();
        let things = starts.iter().fold(ByPoint::everywhere(0), |all, start| all.and_from(*start, *start));
        let at = |point: usize| starts.iter().copied().filter(|start| *start <= point).max().unwrap_or(0);
        for point in 0..20 {
            prop_assert_eq!(*things.at(point), at(point));
            prop_assert_eq!(*things.map(|thing| thing + 7).at(point), at(point) + 7);
            prop_assert_eq!(*things.clone().counted_from(before).at(point), at(point + before));
        }
    }
}
