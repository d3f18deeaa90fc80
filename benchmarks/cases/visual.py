"""Cases of photos, scenes and features, with the right values that their READMEs tell."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.cases.rows import Case, CasesRow, Figure, Right
from benchmarks.cases.worker import Answer
from foldmap.visual.features.photo_names import find_images

SCENE = """def res(path,names,s,idx):
    with open(path,"w") as f:
        for n,i in zip(names,idx): f.write(f"{n} "+" ".join(repr(float(v)) for v in [*quat(s.R[i]),*s.t[i]])+"\\n")
def tum(path,rows):
    with open(path,"w") as f:
        for t,R,C in rows:
            q=quat(R); v=[*C,*q[1:],q[0]]
            f.write(f"{t} "+" ".join(f"{x:.9f}" for x in v)+"\\n")
def seven(folder,s,names):
    for i,n in enumerate(names):
        p=Path(folder)/n.replace(".color.png",".pose.txt"); p.parent.mkdir(parents=True,exist_ok=True)
        M=np.eye(4); M[:3,:3]=s.R[i].T; M[:3,3]=s.C[i]; np.savetxt(p,M,fmt="%.9e")
"""
FOLD = "fold sc -o v.fold --features f.h5"
ASK = "localize v.fold --queries q.txt --features f.h5 -o v.txt"
CLOSE = "--thresholds 0.05,5 --json"


def starting(prefix: str) -> Figure:
    """The first number of a JSON summary whose key begins so: its end names a unit."""

    def figure(_: Path, done: Answer) -> float:
        values = json.loads(done.out)
        return float(next(value for key, value in values.items() if key.startswith(prefix)))

    return figure


def exact(what: str, words: str, refused: str | None = None) -> Right:
    """Estimates that are the truth itself: all within 0.05 and 5 degrees."""
    return Right(what, f"evaluate {words} {CLOSE}", starting("within_0.05"), 100.0, 0.0, refused)


def _answered(folder: Path, _: Answer) -> float:
    rows = [json.loads(line) for line in (folder / "v.txt.jsonl").read_text(encoding="utf-8").splitlines()]
    return sum(row["status"] in ("ok", "degraded") for row in rows)


def _found(folder: Path, _: Answer) -> float:
    return len(find_images(folder / "ph"))


def _dimension(folder: Path, done: Answer) -> float:
    text = done.out.replace(" ", "")
    return 64.0 if '"dimension":64' in text else 0.0


KAPTURE = """def path(name): p=Path('kap')/name; p.parent.mkdir(parents=True,exist_ok=True); return p
def put(name,*rows): path(name).write_text('# kapture format: 1.1\\n'+''.join(r+'\\n' for r in rows))
def row(v): return ', '.join(repr(float(x)) for x in v)
s=Scene(n_pts=300); m=range(14); tr=s.tracks(m); order=list(tr)
put('sensors/sensors.txt',f'cam, , camera, PINHOLE, {s.W}, {s.H}, {s.f}, {s.f}, {s.W/2}, {s.H/2}')
put('sensors/records_camera.txt',*(f'{i}, cam, {s.names[i]}' for i in m))
put('sensors/trajectories.txt',*(f'{i}, cam, '+row([*quat(s.R[i]),*s.t[i]]) for i in m))
put('reconstruction/points3d.txt',*(row(s.P[p])+', 0, 0, 0' for p in order))
seen=[', '.join(f'{s.names[i]}, {j}' for i,j in tr[p]) for p in order]
put('reconstruction/observations.txt',*(f'{k}, superpoint, {each}' for k,each in enumerate(seen)))
put('reconstruction/keypoints/superpoint/keypoints.txt','superpoint, float32, 2')
put('reconstruction/descriptors/superpoint/descriptors.txt','superpoint, float32, 256, superpoint, L2')
for i in m:
    for kind,end,a in (('keypoints','kpt',s.kp[i]),('descriptors','desc',s.kd[i])):
        np.asarray(a,'<f4').tofile(path(f'reconstruction/{kind}/superpoint/{s.names[i]}.{end}'))
s.kd=[k[:,:64]/np.linalg.norm(k[:,:64],axis=1,keepdims=True) for k in s.kd]
s.h5('f.h5',m)
"""
DATABASE = """import sqlite3
def db(path,s,imgs):
    c=sqlite3.connect(path)
    c.execute('CREATE TABLE cameras(camera_id INTEGER PRIMARY KEY,model,width,height,params,prior_focal_length)')
    c.execute('CREATE TABLE images(image_id INTEGER PRIMARY KEY,name TEXT UNIQUE,camera_id INTEGER)')
    for t in ('keypoints','descriptors'):
        c.execute(f'CREATE TABLE {t}(image_id INTEGER PRIMARY KEY,rows,cols,data BLOB)')
    for i in imgs:
        k=s.kp[i].astype(np.float32)
        c.execute('INSERT INTO images VALUES(?,?,1)',(i+1,s.names[i]))
        c.execute('INSERT INTO keypoints VALUES(?,?,2,?)',(i+1,len(k),k.tobytes()))
        c.execute('INSERT INTO descriptors VALUES(?,?,128,?)',(i+1,len(k),bytes(128*len(k))))
    c.commit(); c.close()
"""
TUM_CAMERA = """t0=1305031102.; n=[f"rgb/{t0+i/10:.6f}.png" for i in range(14)]
s=Scene(n_pts=300,names=n); q=[3,4,9,10]
s.txt("sc",s.split(q)); s.h5("f.h5",range(14)); s.queries("q.txt",q)
a=np.deg2rad(20); X=np.array([[1,0,0],[0,np.cos(a),-np.sin(a)],[0,np.sin(a),np.cos(a)]])
tum("gt.tum",[(f"{t0+i/10:.6f}",s.R[i].T@X,s.C[i]+[0,0,5.]) for i in q])
"""


def _lost(command: str, file: str, before: tuple[str, ...] = ()) -> Right:
    """A command that must not touch one of its inputs."""
    return Right(
        command.split(" -o ")[0].split()[0] + f" over {file}",
        command,
        refused="input|overwr|read|itself",
        before=before,
    )


VISUAL = (
    Case(
        "visual/camera-size-against-features",
        (Right("cameras of another size than the features' images", ASK, refused="640 & 512", before=(FOLD,)),),
        script=SCENE
        + """s=Scene(n_pts=300)
q=[4,9]
s.txt('sc',s.split(q))
s.h5('f.h5',range(14))
s.queries('q.txt',q,cam='PINHOLE 512 384 400 400 256 192')""",
    ),
    Case(
        "visual/far-origin",
        (
            Right(
                "centre, 6.4e6 from the origin",
                "evaluate v.txt t.txt --json",
                starting("centre_median"),
                0.0016,
                0.0008,
                before=(FOLD + " --error-px 0.01", ASK),
            ),
            Right(
                "degrees, 6.4e6 from the origin",
                "evaluate v.txt t.txt --json",
                starting("rotation_median"),
                0.012,
                0.006,
            ),
        ),
        script=SCENE
        + """q=[1,3,4,5,7,9,10,12,14,16,17]
s=Scene(n_img=24,n_pts=500,shift=np.array([.654,.134,.74])*6.4e6)
s.txt('sc',s.split(q))
s.h5('f.h5',range(24))
s.queries('q.txt',q)
s.truth('t.txt',q)""",
    ),
    Case(
        "visual/frame-number-as-time",
        (exact("within 0.05", "e.txt gt.tum"),),
        script=SCENE
        + """s=Scene(n_img=40,n_pts=50)
res('e.txt',[f'{i:06d}.png' for i in range(40)],s,range(40))
tum('gt.tum',[(f'{i*.1:.6f}',s.R[i].T,s.C[i]) for i in range(40)])""",
    ),
    Case(
        "visual/kapture-features-ignored",
        (
            Right(
                "features beside kapture",
                "show k.fold --json",
                _dimension,
                64,
                refused="features",
                before=("fold kap -o k.fold --features f.h5",),
            ),
            Right("features that are not there", "fold kap -o k2.fold --features missing.h5", refused=r"missing\.h5"),
        ),
        script=SCENE + KAPTURE,
    ),
    Case(
        "visual/names-in-lists",
        (
            Right("of 3 names with a space, # and digits", ASK, _answered, 3, 0, "my photo", before=(FOLD,)),
            Right(
                "of 3 names alone",
                ASK.replace("q.txt", "n.txt") + " --camera PINHOLE,500,500,320,240",
                _answered,
                3,
                0,
                "my photo",
            ),
            Right("a name that begins as comments do", ASK.replace("q.txt", "h.txt"), refused=r"#1\.jpg & \./#1\.jpg"),
        ),
        script=SCENE
        + """n=[f'db/img_{i:03d}.jpg' for i in range(14)]
n[4]='my photo.jpg'
n[9]='#1.jpg'
n[11]='007'
q=[4,9,11]
s=Scene(n_pts=500,names=n)
s.txt('sc',s.split(q))
s.h5('f.h5',range(14))
s.queries('h.txt',q)
open('q.txt','w').write(open('h.txt').read().replace('#1','./#1'))
open('n.txt','w').write(''.join(n[i].replace('#1','./#1')+'\\n' for i in q))""",
    ),
    Case(
        "visual/output-overwrites-input",
        (
            _lost(
                "localize w.fold --queries q.txt --features f.h5 -o w.fold",
                "the map",
                (FOLD.replace("v.fold", "w.fold"),),
            ),
            _lost("localize v.fold --queries q.txt --features g.h5 -o g.h5", "the features", (FOLD,)),
            _lost("fold sc -o k.h5 --features k.h5", "the features"),
            _lost("fold sc -o sc/points3D.txt --features f.h5", "a file of the scene"),
            _lost("evaluate e.txt tr.txt --plot tr.txt", "the truth"),
        ),
        script=SCENE
        + """s=Scene(n_pts=300)
q=[4,9]
m=s.split(q)
s.txt('sc',m)
[s.h5(f,range(14)) for f in ('f.h5','g.h5','k.h5')]
s.queries('q.txt',q)
s.truth('tr.txt',q)
s.truth('e.txt',q)""",
    ),
    Case(
        "visual/seven-scenes-sequences",
        (exact("within 0.05", "e.txt chess", r"frame-000000 & seq-0"),),
        script=SCENE
        + """n=[f'seq-0{1+i%3}/frame-{i//3:06d}.color.png' for i in range(12)]
s=Scene(n_img=12,n_pts=50,names=n)
res('e.txt',n,s,range(12))
seven('chess',s,n)""",
    ),
    Case(
        "visual/symlinked-photos",
        (Right("photos found of 2", "--version", _found, 2),),
        script="""from PIL import Image\nos.makedirs('real/cam0')
os.makedirs('ph')
Image.new('RGB',(64,48)).save('real/cam0/a.jpg')
os.symlink(os.path.abspath('real/cam0'),'ph/cam0')
Image.new('RGB',(64,48)).save('ph/b.jpg')""",
    ),
    Case(
        "visual/truth-needs-only-poses",
        (
            exact("a camera model that cannot be folded", "e.txt T"),
            exact("an untracked point", "e.txt E"),
            exact("points left out", "e.txt F"),
        ),
        script=SCENE
        + """s=Scene(n_pts=80); res('e.txt',s.names,s,range(14))
s.txt('T',range(14),cam='THIN_PRISM_FISHEYE 640 480 500 500 320 240 0 0 0 0 0 0 0 0')
s.txt('E',range(14)); open('E/points3D.txt','a').write('5000 1 2 3 9 9 9 0.5\\n')
s.txt('F',range(14)); L=open('F/points3D.txt').read().splitlines()
open('F/points3D.txt','w').write('\\n'.join(L[:-5])+'\\n')
""",
    ),
    Case(
        "visual/tum-camera-planar",
        (
            Right(
                "centre, by TUM rows",
                "evaluate v.txt.tum gt.tum --json",
                starting("centre_median"),
                5.0,
                0.05,
                before=(FOLD, ASK + " --layout both"),
            ),
            Right("degrees, by TUM rows", "evaluate v.txt.tum gt.tum --json", starting("rotation_median"), 20.0, 0.5),
            Right("centre, by names", "evaluate v.txt gt.tum --json", starting("centre_median"), 5.0, 0.05),
        ),
        script=SCENE + TUM_CAMERA,
    ),
    Case(
        "visual/zero-descriptors",
        (
            Right("HDF5", FOLD, refused="zero", noted="zero"),
            Right("database", "fold sd -o d.fold", refused="zero", noted="zero"),
        ),
        script=SCENE
        + DATABASE
        + """s=Scene(n_pts=500)
s.txt('sc',range(14))
s.txt('sd',range(14))
db('sd/database.db',s,range(14))
s.kd=[k*0 for k in s.kd]
s.h5('f.h5',range(14))""",
    ),
)


def row() -> CasesRow:
    """Of the scoreboard."""
    return CasesRow(3, "visual", "cases of photos and scenes", VISUAL)
