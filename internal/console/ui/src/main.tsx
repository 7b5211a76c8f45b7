import "@cloudscape-design/global-styles/index.css";
import { lazy, StrictMode, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, Navigate, Outlet, Route, Routes, useLocation } from "react-router";
import { apply } from "./appearance";
import { NotificationsProvider } from "./notifications";
import { at } from "./routes";
import { SessionProvider, useSession } from "./session";

const Shell = lazy(() => import("./shell").then((m) => ({ default: m.Shell })));
const SignIn = lazy(() => import("./pages/sign-in"));
const Authorities = lazy(() => import("./pages/authorities"));
const CreateAuthority = lazy(() => import("./pages/create-authority"));
const AuthorityDetails = lazy(() => import("./pages/authority"));
const Install = lazy(() => import("./pages/install"));
const GenerateReport = lazy(() => import("./pages/generate-report"));
const ReportDetails = lazy(() => import("./pages/report"));
const CertificateDetails = lazy(() => import("./pages/certificate"));
const Templates = lazy(() => import("./pages/templates"));
const NotFound = lazy(() => import("./pages/not-found"));

/** What is there for people who are signed in; others sign in first, and come back. */
function SignedIn() {
  const { session } = useSession();
  const location = useLocation();
  if (session === undefined) return null;
  if (session === null) return <Navigate to="/sign-in" replace state={{ from: location.pathname + location.search }} />;
  return (
    <Shell>
      <Outlet />
    </Shell>
  );
}

apply();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <BrowserRouter basename="/console">
      <SessionProvider>
        <NotificationsProvider>
          <Suspense fallback={null}>
            <Routes>
              <Route path="/sign-in" element={<SignIn />} />
              <Route element={<SignedIn />}>
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
              </Route>
            </Routes>
          </Suspense>
        </NotificationsProvider>
      </SessionProvider>
    </BrowserRouter>
  </StrictMode>,
);
