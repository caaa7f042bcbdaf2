// Every view, in the order of the list, and who sees it. The service refuses by itself; this only spares the detour.

import { forAll, may } from "../session.js";
import { audit } from "./audit.js";
import { budget } from "./budget.js";
import { denials } from "./denials.js";
import { operations } from "./operations.js";
import { planner } from "./planner.js";
import { proofs } from "./proofs.js";
import { tenants } from "./tenants.js";
import { training } from "./training.js";

export const VIEWS = [
  { ...tenants, may: (me) => forAll(me) && may(me, "read_tenants") },
  { ...budget, may: (me) => may(me, "read_budget") },
  { ...operations, may: (me) => may(me, "read_analytics") },
  { ...denials, may: (me) => may(me, "read_denials") },
  { ...planner, may: (me) => may(me, "plan") },
  { ...proofs, may: (me) => may(me, "read_proofs") },
  { ...training, may: (me) => may(me, "read_trainings") },
  { ...audit, may: (me) => may(me, "read_audit") },
];

export const viewsFor = (me) => VIEWS.filter((view) => view.may(me));
