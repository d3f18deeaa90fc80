"""Cases of street maps and camera rings, with the right values that their READMEs tell."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.cases.rows import Case, CasesRow, Figure, Right, answered, summary
from benchmarks.cases.worker import Answer
from foldmap.formats.street.maps import read_street_maps

LANE_M = summary("lane_km", 1000.0)


def folds(what: str, file: str, lane_m: float, refused: str | None = None, noted: str | None = None) -> Right:
    """Folding a street map, whose lanes have so many metres; the summary tells them to the metre."""
    command = f"fold {file} -o made.fold --embeddings none --json"
    return Right(what, command, LANE_M, lane_m, max(0.6, 0.003 * lane_m), refused, noted)


def refuses(what: str, file: str, refused: str) -> Right:
    """Folding a street map that must be refused."""
    return Right(what, f"fold {file} -o made.fold --embeddings none --json", refused=refused)


def comes_out(file: str, lanes: int | None = None) -> tuple[Right, ...]:
    """A map that folds and comes out in both formats, with so many lanes where a reference reader tells."""
    short = file.split("__")[-1]
    fold = f"fold {file} -o {short}.fold --embeddings none"
    counted = Right(f"{short} lanes", fold, _lanes(file), float(lanes or 0))
    return (
        *((counted,) if lanes else ()),
        Right(f"{short} comes out as GeoJSON", f"unfold {short}.fold -o x.geojson", answered, before=(fold,)),
        Right(f"{short} comes out as Lanelet2", f"unfold {short}.fold -o x.osm", answered),
    )


def _lanes(file: str) -> Figure:
    return lambda folder, _: sum(len(one.graph.lanes) for one in read_street_maps(folder / file))


def _row_ids(folder: Path, _: Answer) -> float:
    text = (folder / "ids.geojson").read_text(encoding="utf-8").lower()
    return float('"none"' not in text and '"nan"' not in text)


def _beyond_plain(folder: Path, done: Answer) -> float:
    plain = sum(one.graph.length_m for one in read_street_maps(folder / "plain.net.xml"))
    return float(LANE_M(folder, done)) - plain


def unseen(folder: Path, _: Answer) -> float:
    """Share of the observations that are said to show nothing."""
    rows = [json.loads(line) for line in (folder / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    return sum(1 for row in rows if row["status"] == "no_observation") / len(rows)


TOWN = """from pathlib import Path
from foldmap.formats.street.geojson import write_geojson
from foldmap.town.street.map import town_street_map
from foldmap.town.world import TownWorld
write_geojson(town_street_map(TownWorld(3),-40.0,-40.0,40.0,40.0,'town'),Path('town.geojson'))
"""
RING = (
    TOWN
    + """from PIL import Image
mm=json.load(open('ring_ok.json'))
for row in mm['cameras'][0]['vehicle_SE3_camera'][:3]: row[3]*=1000
json.dump(mm,open('ring_mm.json','w'))
for name in ('ok','flu','mm','inv'):
    os.makedirs(f'{name}/front'); shutil.copy(f'ring_{name}.json',f'{name}/ring.json')
    Image.fromarray(np.random.default_rng(1).integers(0,255,(1080,1920,3),np.uint8)).save(f'{name}/front/0.png')
"""
)
NETS = """lane='<lane id="a_0" index="0" speed="13.89" length="50" shape="0,0 50,0"/>'
bounds='convBoundary="0,0,100,100" origBoundary="9,48,10,49"'
def net(crs):
    place=f'<location netOffset="0,0" {bounds} projParameter="{crs}"/>'
    return f'<net version="1.9">{place}<edge id="a" from="A" to="B">{lane}</edge></net>'
"""
ROAD = """def road(crs):
    line='<planView><geometry s="0" x="900000" y="6100000" hdg="0" length="50"><line/></geometry></planView>'
    lane='<lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>'
    middle='<center><lane id="0" type="none"/></center>'
    lanes='<lanes><laneSection s="0">'+middle+'<right>'+lane+'</right></laneSection></lanes>'
    head=f'<header revMajor="1" revMinor="7"><geoReference><![CDATA[{crs}]]></geoReference></header>'
    return '<OpenDRIVE>'+head+'<road length="50" id="1" junction="-1">'+line+lanes+'</road></OpenDRIVE>'
"""
FEET = r"f[oe][oe]t|us-ft"


def _ring(name: str) -> Right:
    return Right(
        f"ring_{name}",
        f"street retrieve town.fold {name} -o found.jsonl",
        unseen,
        1.0,
        refused="ground|front|looks|rotation",
        before=("fold town.geojson -o town.fold",),
    )


STREET = (
    Case(
        "lidar-street/web-mercator",
        (
            folds("GeoJSON at 48 N", "merc.geojson", 390.8, "mercator", "mercator"),
            folds("SUMO at 48 N", "merc.net.xml", 33.5, "mercator", "mercator"),
            folds("OpenDRIVE at 48 N", "merc.xodr", 33.5, "mercator", "mercator"),
        ),
        script=NETS
        + ROAD
        + """open('merc.net.xml','w').write(net('EPSG:3857').replace('0,0 50,0','900000,6100000 900050,6100000'))
open('merc.xodr','w').write(road('+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +units=m +nadgrids=@null'))
""",
    ),
    Case(
        "lidar-street/degrees-not-recognized",
        (
            folds("degrees without a crs member", "sparse_deg.geojson", 6877.5),
            folds("degrees with a crs member", "sparse_deg_crs84.geojson", 6877.5),
        ),
    ),
    Case(
        "lidar-street/local-crs-in-feet",
        (
            folds("SUMO in feet", "proj_ft.net.xml", 30.48, FEET),
            folds("OpenDRIVE in feet", "georef_wkt_ft.xodr", 15.24, FEET),
            refuses("OpenDRIVE with a PROJ text that is none", "georef_bad.xodr", "tmercator|geoReference"),
        ),
    ),
    Case(
        "lidar-street/lanelet2-local-xy-ignored",
        (
            folds("latitudes that local_x contradicts", "aw_scaled.osm", 50.0, "local_x", "local_x"),
            folds("a latitude off null island", "aw_same.osm", 50.0, "local_x", "local_x"),
        ),
    ),
    Case(
        "lidar-street/opendrive-singleside",
        (folds("both sides", "singleside_both.xodr", 310), folds("with lane links", "singleside.xodr", 260)),
    ),
    Case(
        "lidar-street/opendrive-zero-length-section",
        (
            folds("at the end", "dup_section.xodr", 50),
            folds("in a chain of roads", "dup_section_chain.xodr", 100),
            folds("at the start", "dup_section_first.xodr", 50),
            folds("past the end", "section_past_end.xodr", 50),
        ),
    ),
    Case("lidar-street/ring-sees-no-ground", tuple(_ring(name) for name in ("flu", "mm", "inv")), script=RING),
    Case(
        "lidar-street/small-ones",
        (
            folds("a folder, one file with a unit of its own spelling", "roads", 100, r"b\.xodr"),
            Right(
                "ids that are null",
                "unfold ids.fold -o ids.geojson",
                _row_ids,
                before=("fold id_null.geojson -o ids.fold --embeddings none --lanes all",),
            ),
            folds("CSV, a line that comes again later", "c_repeat.csv", 30, "c_repeat"),
            folds("lines in a GeometryCollection", "gc.geojson", 581.2, noted="collection"),
            folds("Latin-1 without a declaration", "latin1.xodr", 100, "encod|utf-8"),
            folds("width with border", "width_and_border.xodr", 50),
            Right(
                "metres beyond those without the comment",
                "fold big.net.xml -o big.fold --embeddings none --json",
                _beyond_plain,
                0.0,
                0.6,
            ),
        ),
        script=NETS
        + """os.makedirs('roads'); good=open('sp_KMH.xodr').read()
open('roads/a.xodr','w').write(good.replace('KMH','km/h')); open('roads/b.xodr','w').write(good)
plain=net('!'); open('plain.net.xml','w').write(plain); open('big.net.xml','w').write('<!-- '+'x'*70000+' -->\\n'+plain)
""",
    ),
    Case(
        "street-maps",
        (
            *comes_out("commonroad-s__lanelet2__merging_lanelets_utm.osm", 13),
            *comes_out("tactics2d__inD_map__inD_1.osm", 85),
            *comes_out("commonroad-s__reference_xodr__ZAM_Over-1_1.xodr"),
            *comes_out("esmini__sumo_inputs__multi_intersections.net.xml"),
            *comes_out("esmini__xodr__curve_r100.xodr"),
            *comes_out("qc-opendrive__examples__Ex_Entry_Exit.xodr"),
            *comes_out("sumo-scenari__pasubio__pasubio_buslanes.net.xml"),
        ),
    ),
)


def row() -> CasesRow:
    """Of the scoreboard."""
    return CasesRow(2, "street", "cases of street maps and camera rings", STREET)
