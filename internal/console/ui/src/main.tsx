import "@cloudscape-design/global-styles/index.css";
import "./styles.css";
import { Activity, StrictMode, Suspense, useEffect, useRef } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, Navigate, Route, Routes, useLocation, useNavigate } from "react-router";
import { apply } from "./appearance";
import { Boundary, later } from "./chunk";
import Authorities from "./pages/authorities";
import SignIn from "./pages/sign-in";
import { at } from "./routes";
import { SessionProvider, useSession } from "./session";
import Shell from "./shell";

// What everybody sees first comes in one piece; each other page when it is gone to.

const CreateAuthority = later(() => import("./pages/create-authority"));
const AuthorityDetails = later(() => import("./pages/authority"));
const Install = later(() => import("./pages/install"));
const GenerateReport = later(() => import("./pages/generate-report"));
const ReportDetails = later(() => import("./pages/report"));
const CertificateDetails = later(() => import("./pages/certificate"));
const Templates = later(() => import("./pages/templates"));
const NotFound = later(() => import("./pages/not-found"));

/**
 * The sign-in page, and the pages for people who are signed in. When a session
 * ends while it is used, its page stays, hidden, below the sign-in page: the
 * same principal finds it again as it was, with what was typed.
 */
function Pages() {
  const { session, ended, left } = useSession();
  const location = useLocation();
  const navigate = useNavigate();
  const signingIn = location.pathname === at.signIn;
  const place = useRef(location);
  if (!signingIn) place.current = location;

  useEffect(() => {
    if (session !== null || signingIn) return;
    navigate(at.signIn, { replace: true, state: left ? null : { from: location.pathname + location.search } });
  }, [session, left, signingIn, location, navigate]);

  const principal = (session ?? ended)?.arn;
  const held = place.current.pathname !== at.signIn;
  return (
    <>
      {signingIn && session !== undefined && <SignIn />}
      {principal && held && (
        <Activity key={principal} mode={session && !signingIn ? "visible" : "hidden"}>
          <Shell>
            <Boundary key={place.current.pathname}>
              <Routes location={place.current}>
                <Route index element={<Navigate to={at.authorities} replace />} />
                <Route path="/authorities" element={<Authorities />} />
                <Route path="/authorities/create" element={<CreateAuthority />} />
                <Route path="/authorities/:account/:ca" element={<AuthorityDetails />} />
                <Route path="/authorities/:account/:ca/install" element={<Install />} />
                <Route path="/authorities/:account/:ca/audit-report" element={<GenerateReport />} />
                <Route path="/authorities/:account/:ca/reports/:report" element={<ReportDetails />} />
                <Route path="/authorities/:account/:ca/certificates/:serial" element={<CertificateDetails />} />
                <Route path="/templates" element={<Templates />} />
                <Route path="*" element={<NotFound />} />
              </Routes>
            </Boundary>
          </Shell>
        </Activity>
      )}
    </>
  );
}

apply();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <BrowserRouter basename="/console">
      <Boundary>
        <SessionProvider>
          <Suspense fallback={null}>
            <Pages />
          </Suspense>
        </SessionProvider>
      </Boundary>
    </BrowserRouter>
  </StrictMode>,
);
