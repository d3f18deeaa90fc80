"""Cases of sweeps, poses and rasters, with the right values that their READMEs tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.cases.rows import Case, CasesRow, Right, answered, summary
from benchmarks.cases.worker import Answer
from foldmap.formats.raster.geotiff import open_raster
from foldmap.types import BoolArray

TRUTH = "--poses out/truth.txt --resolution 0.33"
RIGHT = f"build lidar out/sweeps {TRUTH} -o right.tif"
OBSERVED = summary("observed_m2")


def likeness(made: str, right: str) -> float:
    """Correlation of two maps where both were observed; 0 where they have little ground in common."""
    maps = []
    for path in (made, right):
        raster = open_raster(path)
        grid = raster.grid
        maps.append((grid, raster.read(0, 0, grid.height_px, grid.width_px)))
        raster.close()
    (one, first), (other, second) = maps
    rows, cols = np.nonzero(first.observed)
    there = np.stack([rows, cols], axis=1) + other.offset_of(one)
    inside: BoolArray = np.all((there >= 0) & (there < np.array(other.shape)), axis=1)
    inside[inside] = second.observed[tuple(there[inside].T)]
    rows, cols, there = rows[inside], cols[inside], there[inside]
    if first.intensity[rows, cols].std() == 0 or rows.size < 0.9 * min(first.observed.sum(), second.observed.sum()):
        return 0.0
    return float(np.corrcoef(first.intensity[rows, cols], second.intensity[tuple(there.T)])[0, 1])


def like_right(folder: Path, _: Answer) -> float:
    """Correlation of ``made.tif`` with ``right.tif``."""
    return likeness(f"{folder}/made.tif", f"{folder}/right.tif")


def like_bytes(folder: Path, _: Answer) -> float:
    """Mean intensity of a raster of 32 bits over that of the same bytes."""
    means = []
    for name in ("u32", "u8"):
        raster = open_raster(f"{folder}/out/{name}.tif")
        means.append(float(raster.read(0, 0, raster.grid.height_px, raster.grid.width_px).intensity.mean()))
        raster.close()
    return means[0] / means[1]


def built(what: str, words: str, refused: str | None, **more: object) -> Right:
    """Building a map, which must refuse or give the right map, ``right.tif``."""
    return Right(what, f"build lidar {words} -o made.tif", like_right, 1.0, 0.02, refused, **more)  # type: ignore[arg-type]


DRIVE = """P=drive(); os.makedirs('out/sweeps',exist_ok=True)
for k,p in enumerate(P): kbin(f'out/sweeps/{k:06d}.bin',sweep(p,seed=k))
kitti('out/truth.txt',P)
"""
RASTER = """import rasterio
from affine import Affine
def raster(name,side,size,crs=None,dtype='float32',top=0,hole=None,scale=None,gain=1.0):
    y,x=np.mgrid[0:size,0:size]; a=(ground((x+.5)*side,(y+.5)*side)*gain).astype(dtype)
    if hole is not None: a[:80]=hole
    west=500000 if crs else 0
    given=dict(driver='GTiff',height=size,width=size,count=1,dtype=dtype,crs=crs)
    with rasterio.open(name,'w',transform=Affine(side,0,west,0,-side,top+66),**given) as f:
        f.write(a,1)
        if scale is not None: f.scales=(scale,)
"""


LIDAR = (
    Case(
        "lidar-street/orientation-not-checked",
        (
            built(
                "camera poses without calibration",
                f"out/sweeps {TRUTH.replace('truth', 'cam')}",
                "calibration",
                before=(RIGHT,),
            ),
            built(
                "quaternions with w first",
                "out/sweeps --poses out/euroc.csv --resolution 0.33",
                r"q_?w|first|down|below|above",
                before=(RIGHT,),
            ),
            built("sweeps with z down", f"out/upside {TRUTH}", r"\bz\b"),
            Right("right poses", RIGHT + " --json", OBSERVED, 2961, 60),
        ),
        ("make.py",),
    ),
    Case(
        "lidar-street/world-frame-sweeps",
        (
            Right(
                "sweeps in UTM", "build lidar out/utm --poses out/utm.txt --resolution 0.33 -o m.tif", refused="frame"
            ),
            Right("sweeps in millimetres", f"build lidar out/mm {TRUTH} -o m.tif", refused="millimet|metre"),
        ),
        script=DRIVE
        + """U=drive(x0=456000.,y0=5428000.)
for d in ('utm','mm'): os.makedirs(f'out/{d}',exist_ok=True)
for k,p in enumerate(U):
    s=sweep(p,seed=k); M=mat(p); w=s[:,:3]@M[:,:3].T+M[:,3]
    pcd(f'out/utm/{k:06d}.pcd',[('x',8,'F',1),('y',8,'F',1),('z',8,'F',1),('intensity',4,'F',1)],[*w.T,s[:,3]])
    kbin(f'out/mm/{k:06d}.bin',s*[1000,1000,1000,1])
kitti('out/utm.txt',U)
""",
    ),
    Case(
        "lidar-street/sweep-names-decimal-times",
        (
            built(
                "poses by the times in the names",
                "out/sweeps --poses out/truth.txt --resolution 0.33",
                r"11\.\d+|rise|order",
                before=(RIGHT.replace("out/sweeps", "out/padded"),),
            ),
        ),
        ("make.py",),
        """os.makedirs('out/padded')
for f in os.listdir('out/sweeps'): shutil.copy('out/sweeps/'+f,f'out/padded/{float(f[:-4]):09.4f}.bin')
""",
    ),
    Case(
        "lidar-street/pcd-int32-intensity",
        (
            built("uint32 holding 0 to 255", f"out/u32 {TRUTH}", "intensity", before=(RIGHT.replace("sweeps", "u8"),)),
            built("int32 holding 0 to 255", f"out/i32 {TRUTH}", "intensity"),
            built("uint32 with its scale given", f"out/u32 {TRUTH} --intensity-scale 255", None),
            Right(
                "raster of uint32 holding 0 to 255",
                "fold out/u32.tif -o u32.fold",
                like_bytes,
                1.0,
                0.001,
                "255|uint32",
            ),
            Right("raster of uint8", "fold out/u8.tif -o u8.fold", answered),
            Right("raster with a GDAL scale of 0", "fold zero.tif -o zero.fold", refused="scale"),
        ),
        ("make.py", "raster.py"),
        RASTER + "raster('zero.tif',.33,200,scale=0.0,dtype='uint8',gain=255)",
    ),
    Case(
        "lidar-street/pcd-zero-intensity",
        (
            Right(
                "PCD whose intensity is zero",
                f"build lidar out/zero {TRUTH} -o m.tif",
                refused="intensity & reflectivity",
            ),
        ),
        ("make.py",),
    ),
    Case(
        "lidar-street/nuscenes-bin",
        (
            Right("five columns", f"build lidar out/nusc {TRUTH} -o m.tif", refused="column|layout"),
            Right(
                "five columns, scale given",
                f"build lidar out/nusc {TRUTH} --intensity-scale 255 -o m.tif",
                refused="column|layout",
            ),
            Right("six columns", f"build lidar out/six {TRUTH} -o m.tif", refused="column|layout"),
            Right("float64", f"build lidar out/f8 {TRUTH} -o m.tif", refused="float64|layout|column"),
        ),
        ("make.py",),
        """for k,p in enumerate(drive()):
    s=sweep(p,seed=k)
    for d,a in (('six',np.c_[s[:,3],np.zeros(len(s)),s[:,:3],np.ones(len(s))].astype('<f4')),('f8',s.astype('<f8'))):
        os.makedirs('out/'+d,exist_ok=True); a.tofile(f'out/{d}/{k:06d}.bin')
""",
    ),
    Case(
        "lidar-street/las-cut-at-point",
        (
            Right(
                "LAS that holds fewer points than it declares",
                "build lidar cut.las --poses one.txt --resolution 0.33 -o m.tif",
                refused="33,?600 & 1,?000",
            ),
        ),
        script="""__file__ = 'make.py'
made = open('make.py').read().rsplit('print', 1)[0]  # its last line reads the file, which must refuse
exec(made.replace('from foldmap.formats.sweeps import read_sweep', ''))
kitti('one.txt',drive(1))
""",
    ),
    Case(
        "lidar-street/undeclared-float-nodata",
        (
            Right("-3.4e38 undeclared", "fold m3e38.tif -o m.fold", refused=r"m3e38\.tif & nodata"),
            Right("-9999 undeclared", "fold m9999.tif -o n.fold --json", OBSERVED, 2613.6, 1, r"9999 & nodata"),
            Right("int16 -9999 undeclared", "fold i16.tif -o i.fold --json", OBSERVED, 2613.6, 1, r"9999 & nodata"),
        ),
        ("make.py",),
        RASTER + "raster('i16.tif',.33,200,dtype='int16',hole=-9999,gain=1000)",
    ),
    Case(
        "lidar-street/local-crs-in-feet",
        (
            Right(
                "raster in US survey feet", "fold halffoot.tif -o m.fold --json", OBSERVED, 929, 2, r"f[oe][oe]t|0\.152"
            ),
            Right("raster in kilometres", "fold km.tif -o k.fold", refused=r"kilomet|\bkm\b"),
        ),
        script=RASTER
        + """raster('halffoot.tif',.5,200,'LOCAL_CS["site",UNIT["US survey foot",0.304800609601219]]')
raster('km.tif',.33,200,'LOCAL_CS["site",UNIT["kilometre",1000]]')
""",
    ),
    Case(
        "lidar-street/web-mercator",
        (
            Right(
                "raster in Web Mercator at 48 N", "fold merc.tif -o m.fold", refused="mercator|3857", noted="mercator"
            ),
            Right(
                "poses in Web Mercator",
                "build lidar out/sweeps --poses out/merc.txt --resolution 0.33 --crs EPSG:3857 -o m.tif",
                refused="mercator|3857",
                noted="mercator",
            ),
        ),
        script=RASTER
        + DRIVE
        + """raster('merc.tif',.4932,200,'EPSG:3857',top=6100000)
kitti('out/merc.txt',drive(x0=935000.,y0=6106000.))
""",
    ),
    Case(
        "lidar-street/degrees-not-recognized",
        (
            Right(
                "poses in degrees",
                "build lidar out/sweeps --poses out/deg.txt --resolution 0.33 -o m.tif",
                refused="degree",
            ),
        ),
        script=DRIVE + "tum('out/deg.txt',[(8.4+p[0]*1.37e-5,49.0+p[1]*9e-6,p[2]) for p in P])",
    ),
    Case(
        "lidar-street/evaluate-times-under-0.1ms",
        (
            Right("answered of 8", "evaluate est_fast.txt truth_fast.txt --json", summary("answered"), 8),
            Right(
                "total median", "evaluate est_fast.txt truth_fast.txt --json", summary("total_median_m"), 0.034, 0.001
            ),
        ),
    ),
)


def row() -> CasesRow:
    """Of the scoreboard."""
    return CasesRow(1, "lidar", "cases of sweeps, poses and rasters", LIDAR)
