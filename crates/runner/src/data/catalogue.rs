//! Who publishes which data set, where, and what the files' checksums are.

use super::checksum::Checksum;
use super::fetch::Download;

/// How the files come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// One gzipped tar archive that holds [`Publication::folder`].
    TarGz,
    /// Single files that belong into [`Publication::folder`].
    Files,
}

/// A published data set.
#[derive(Debug)]
pub struct Publication {
    /// The data set's name here.
    pub name: &'static str,
    /// The publisher's page.
    pub page: &'static str,
    /// Terms, as far as the publisher states them.
    pub licence: &'static str,
    /// Folder of the files within the data folder.
    pub folder: &'static str,
    /// How the files come.
    pub packing: Packing,
    /// The files.
    pub downloads: &'static [Download],
}

impl Publication {
    /// Bytes to download.
    pub fn bytes(&self) -> u64 {
        self.downloads.iter().map(|download| download.bytes).sum()
    }

    /// How to get the data, with a network and without.
    pub fn how_to_get(&self) -> String {
        let names: Vec<&str> = self.downloads.iter().map(|download| download.file_name.as_ref()).collect();
        let by_hand = match self.packing {
            Packing::TarGz => format!("unpack {} into the data folder, as {}/", names.join(", "), self.folder),
            Packing::Files => format!("put {} into {}/ of the data folder", names.join(", "), self.folder),
        };
        format!("run `blindfold data fetch {}`, or download from {} and {by_hand}", self.name, self.page)
    }
}

/// CIFAR-10, binary version.
pub(super) static CIFAR10: Publication = Publication {
    name: "cifar10",
    page: "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence: "no licence stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    folder: "cifar-10-batches-bin",
    packing: Packing::TarGz,
    downloads: &[Download::published(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "cifar-10-binary.tar.gz",
        Checksum::md5("c32a1d4ab5d03f1284b67883e8d87530"),
        170_052_171,
    )],
};

/// CIFAR-100, binary version.
pub(super) static CIFAR100: Publication = Publication {
    name: "cifar100",
    page: "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence: "no licence stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    folder: "cifar-100-binary",
    packing: Packing::TarGz,
    downloads: &[Download::published(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "cifar-100-binary.tar.gz",
        Checksum::md5("03b5dce01913d631647c71ecec9e9cb8"),
        168_513_733,
    )],
};

/// MNIST. The publisher's own server refuses programs, so the addresses are those of its mirror by the PyTorch project.
pub(super) static MNIST: Publication = Publication {
    name: "mnist",
    page: "http://yann.lecun.com/exdb/mnist/",
    licence: "CC BY-SA 3.0; LeCun, Cortes and Burges, after NIST's special databases 1 and 3",
    folder: "mnist",
    packing: Packing::Files,
    downloads: &[
        Download::published(
            "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
            "train-images-idx3-ubyte.gz",
            Checksum::md5("f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            9_912_422,
        ),
        Download::published(
            "https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            Checksum::md5("d53e105ee54ea40749a09fcbcd1e9432"),
            28_881,
        ),
        Download::published(
            "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            Checksum::md5("9fb629c4189551a2d022fa330f9573f3"),
            1_648_877,
        ),
        Download::published(
            "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
            Checksum::md5("ec29112dd5afa0611ce80d1b7f02629c"),
            4_542,
        ),
    ],
};

/// Fashion-MNIST.
pub(super) static FASHION_MNIST: Publication = Publication {
    name: "fashion-mnist",
    page: "https://github.com/zalandoresearch/fashion-mnist",
    licence: "MIT; Zalando SE",
    folder: "fashion-mnist",
    packing: Packing::Files,
    downloads: &[
        Download::published(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
            "train-images-idx3-ubyte.gz",
            Checksum::md5("8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            26_421_880,
        ),
        Download::published(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            Checksum::md5("25c81989df183df01b3e8a0aad5dffbe"),
            29_515,
        ),
        Download::published(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            Checksum::md5("bef4ecab320f06d8554ea6380940ec79"),
            4_422_102,
        ),
        Download::published(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
            Checksum::md5("bb300cfdad3c16e7a12a480ee83cd310"),
            5_148,
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_download_has_a_whole_checksum_and_says_how_to_do_it_by_hand() {
        for publication in [&CIFAR10, &CIFAR100, &MNIST, &FASHION_MNIST] {
            for download in publication.downloads {
                let digits = if matches!(download.checksum, Checksum::Md5(_)) { 32 } else { 64 };
                let hex = download.checksum.expected();
                assert!(hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{}", download.url);
                assert!(download.url.ends_with(download.file_name.as_ref()));
            }
            assert!(publication.how_to_get().contains(publication.page));
        }
    }
}
