import { launchesOf } from './traced-runs'; import {runs} from './kernel-report'; import {builtCodes, launchedCode} from './report/launched-code';
async function main(){ const t0=Date.now(); const L=await launchesOf(runs,{CUDASIM_CC:'9.0'}); console.log('sim',Date.now()-t0); const codes=builtCodes(); console.log(Date.now()-t0);
 const first=new Map(L.toReversed().map(l=>[l.kernel,l]));
 for(const [k,l] of first){ if(!(process.argv[2]?k.includes(process.argv[2]):true)) continue; const out=[]; const t=Date.now(); for(const a of ['sm_80','sm_90','sm_100']){ const c=codes.find(c=>c.name===k&&c.architecture===a)!; try{ const r=launchedCode(l,c); out.push(r?`${r.instructions.toFixed(2)}/${r.ptxInstructions.toFixed(2)} d${r.loadDistance}`:'none'); }catch(e){out.push(String(e));} } console.log(k,l.run.rows,l.run.hiddenSize,'kinds',l.warps.length,'spans',Math.max(...l.warps.map(w=>w.spans.length)),out.join(' | '),Date.now()-t,'ms'); }
}
void main();
